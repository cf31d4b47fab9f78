-- push: add an item to a feed, once if it has a name, and keep the newest.
--
-- KEYS[1] items, a stream   KEYS[2] names, a hash of name to item      both carry the same {hash tag}
-- ARGV[1] item, bytes   ARGV[2] the most items kept, > 0   ARGV[3] expire after, ms; 0: never
-- ARGV[4] name of the item, '' for none
-- returns {1, id}: pushed     {0, id}: an item of this name is there, nothing changed
-- cost    O(1), and O(log n) for each item too many: a hundred at most, the rest goes with the next
-- why Lua: the name, the item and what is dropped for it are one step
local items, names, name = KEYS[1], KEYS[2], ARGV[4]
if redis.call('XLEN', items) == 0 and redis.call('EXISTS', names) == 1 then
  redis.call('UNLINK', names)  -- the items were evicted, and their names were not
elseif name ~= '' then
  local known = redis.call('HGET', names, name)
  if known and #redis.call('XRANGE', items, known, known) > 0 then
    return {0, known}
  end
end
local id
if name == '' then
  id = redis.call('XADD', items, '*', 'd', ARGV[1])
else
  id = redis.call('XADD', items, '*', 'd', ARGV[1], 'n', name)
  redis.call('HSET', names, name, id)
end
local over = redis.call('XLEN', items) - tonumber(ARGV[2])
if over > 0 then
  for _, item in ipairs(redis.call('XRANGE', items, '-', '+', 'COUNT', math.min(over, 100))) do
    redis.call('XDEL', items, item[1])
    local its = item[2][4]
    -- Once the last name went from a slot that is on its way, names are no longer here to be asked: it is pushed all the same.
    if its and redis.pcall('HGET', names, its) == item[1] then
      redis.pcall('HDEL', names, its)
    end
  end
end
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', items, ARGV[3])
  redis.pcall('PEXPIRE', names, ARGV[3])
end
return {1, id}
