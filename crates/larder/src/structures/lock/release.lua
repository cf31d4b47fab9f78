-- release: give the lock back, if it is still ours, and wake one who waits for it.
--
-- KEYS[1] lock   KEYS[2] bell, a list of one
-- ARGV[1] token of the try   ARGV[2] how long the bell rings, ms
-- returns 1: given back   0: it was another's, or nobody's
-- cost    O(1), one round trip
-- why Lua: it must not become another's between the check and the end
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%x+') ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[1])
-- Who waits would find it free a little later all the same: so a full memory, or another type, is no fault here.
if type(redis.pcall('LPUSH', KEYS[2], '1')) == 'number' then
  redis.call('LTRIM', KEYS[2], 0, 0)
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1
