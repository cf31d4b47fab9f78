-- extend: a worker says that it is alive, or that it gives a job back.
--
-- KEYS[1] jobs, a stream
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] entry   ARGV[4] deliveries when it was claimed
-- ARGV[5] for how long nobody has heard of it, ms: 0 extends, the visibility gives it back
-- returns 1: done   0: another has it, or it is gone already
-- cost    O(log n), one round trip
-- why Lua: XCLAIM would take it from whoever has it by now
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if held.err then
  return string.find(held.err, 'NOGROUP') and 0 or held
end
if not held[1] or held[1][2] ~= ARGV[2] or held[1][4] ~= tonumber(ARGV[4]) then
  return 0
end
local deliveries = held[1][4]
if ARGV[5] ~= '0' then
  deliveries = deliveries - 1 -- it was not tried
end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[5], 'RETRYCOUNT', deliveries, 'JUSTID')
return 1
