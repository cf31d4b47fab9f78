-- take: say that a consumer lives, and move the oldest item to its own list.
--
-- KEYS[1] items, a list   KEYS[2] consumers, a sorted set by when they were last seen
-- KEYS[3] lease of the consumer   KEYS[4] what it has taken, a list
-- ARGV[1] consumer   ARGV[2] how long it may be silent, ms   ARGV[3] 'take', or 'hold' to say only that it lives
-- returns the item, or nothing
-- cost    O(log consumers), one round trip
-- why Lua: nothing may be in the list of a consumer that nobody knows of
local time = redis.call('TIME')
redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], time[1], ARGV[1])
if ARGV[3] == 'hold' then
  return false
end
return redis.call('LMOVE', KEYS[1], KEYS[4], 'RIGHT', 'LEFT')
