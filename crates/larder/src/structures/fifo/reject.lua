-- reject: an item that cannot be read is set aside.
--
-- KEYS[1] what its consumer has taken, a list   KEYS[2] rejected, a list: new ones left
-- ARGV[1] item   ARGV[2] how many are kept
-- returns 1: set aside   0: it is not taken, or no longer by this one
-- cost    O(taken), one round trip
-- why Lua: it must be in one of the two at any time
if not redis.call('LPOS', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[2] - 1)
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
