-- extend: renew a lease, if it is still ours.
--
-- KEYS[1] lease
-- ARGV[1] lease token   ARGV[2] lease time, ms, > 0
-- returns 1: renewed     0: it is not ours any more
-- cost    O(1), one round trip
-- why Lua: only the lease's holder may renew it
if redis.pcall('GET', KEYS[1]) ~= 'T' .. ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('EXISTS', KEYS[1])  -- under NOLOOP our own PEXPIRE ended our tracking: else we never hear of an invalidation
return 1
