-- put back: an item that was taken is the next to be taken again.
--
-- KEYS[1] items, a list   KEYS[2] what its consumer has taken, a list
-- ARGV[1] item
-- returns 1: put back   0: it is not taken, or no longer by this one
-- cost    O(taken), one round trip
-- why Lua: it must be in one of the two at any time
if not redis.call('LPOS', KEYS[2], ARGV[1]) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LREM', KEYS[2], 1, ARGV[1])
return 1
