-- remove: take one item out of a feed, by its id or by its name.
--
-- KEYS[1] items, a stream   KEYS[2] names, a hash of name to item      both carry the same {hash tag}
-- ARGV[1] id of the item, '' to go by its name   ARGV[2] name, '' to go by its id
-- returns 1: removed     0: it was not there
-- cost    O(log n)
-- why Lua: an item and its name go together
local items, names, id = KEYS[1], KEYS[2], ARGV[1]
if id == '' then
  id = redis.call('HGET', names, ARGV[2])
  if not id then
    return 0
  end
end
local item = redis.call('XRANGE', items, id, id)[1]
local name = item and item[2][4]
if ARGV[2] ~= '' then
  name = ARGV[2]
end
if name and redis.call('HGET', names, name) == id then
  redis.call('HDEL', names, name)
end
return redis.call('XDEL', items, id)
