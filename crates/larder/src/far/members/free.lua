-- free: take some members of a tag that ended, to be freed.
--
-- KEYS[1] members of the tag, a sorted set   KEYS[2] those that are going      both carry the same {hash tag}
-- ARGV[1] 1 at first, when all there are begin to go; then 0   ARGV[2] how many are taken
-- returns names; none when there are no more
-- cost    O(log n) for each that is taken
-- why Lua: who comes after the tag ended is no longer among those that go
if ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])  -- keeps its time to live
end
local taken = redis.call('ZPOPMIN', KEYS[2], ARGV[2])
local names = {}
for at = 1, #taken, 2 do
  names[#names + 1] = taken[at]
end
return names
