-- push: put an item at the end of the list, if there is room.
--
-- KEYS[1] items, a list: new ones left, the oldest right
-- ARGV[1] item   ARGV[2] how many there may be
-- returns 1: pushed   0: the list is full
-- cost    O(1), one round trip
-- why Lua: the bound must hold when two push at once
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('LPUSH', KEYS[1], ARGV[1])
return 1
