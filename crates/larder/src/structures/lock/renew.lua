-- renew: keep the lock for another time, if it is still ours.
--
-- KEYS[1] lock
-- ARGV[1] token and fence, as they were given   ARGV[2] time of the lock, ms
-- returns 1: kept   0: it is another's, or nobody's
-- cost    O(1), one round trip
-- why Lua: it must not become another's between the check and the new time
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
