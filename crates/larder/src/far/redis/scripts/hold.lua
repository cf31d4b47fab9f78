-- hold: take the lease of a partition, if nobody has it or we do.
--
-- KEYS[1] lease of the worker
-- ARGV[1] lease token   ARGV[2] lease time, ms, > 0
-- returns 1: it is ours     0: it is another's
-- cost    O(1), one round trip
-- why Lua: a full server refuses a SET that stands alone, and then nobody would make room
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= 'T' .. ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])  -- first, since a full server refuses a SET and not this
redis.call('SET', KEYS[1], 'T' .. ARGV[1], 'PX', ARGV[2])
return 1
