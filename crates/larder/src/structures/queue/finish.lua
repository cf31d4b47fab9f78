-- finish: a job is done, if it is still its worker's.
--
-- KEYS[1] jobs, a stream
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] entry   ARGV[4] deliveries when it was claimed
-- returns 1: finished, it is gone   0: another has it, or it is gone already
-- cost    O(log n), one round trip
-- why Lua: it must not be taken over between the check and the end
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if held.err then
  return string.find(held.err, 'NOGROUP') and 0 or held
end
if not held[1] or held[1][2] ~= ARGV[2] or held[1][4] ~= tonumber(ARGV[4]) then
  return 0
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
