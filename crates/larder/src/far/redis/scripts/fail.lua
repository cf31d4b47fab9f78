-- fail: leave word that the source failed, so that waiters wake and nobody tries again at once.
--
-- KEYS[1] lease
-- ARGV[1] lease token   ARGV[2] code   ARGV[3] back off for, ms, > 0
-- returns 1: word left     0: the lease was lost, nothing changed
-- cost    O(1), one round trip
-- why Lua: only the lease's holder may end it
if redis.pcall('GET', KEYS[1]) ~= 'T' .. ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], 'E' .. ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
