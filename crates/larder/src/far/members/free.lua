-- free: take some members of a tag that ended, to be freed.
--
-- KEYS[1] members of the tag, a sorted set
-- KEYS[2] those that go because of this end, a name that no other end has      both carry the same {hash tag}
-- ARGV[1] 1 at first, when all there are begin to go; then 0   ARGV[2] how many are taken
-- returns how many were taken, and the names of those that did not come back; 0 when there are no more
-- cost    O(log n) for each that is taken
-- why Lua: who comes after the tag ended is no longer among those that go, and who came back is told apart from them
if ARGV[1] == '1' then
  local many = redis.pcall('ZCARD', KEYS[1])
  if type(many) ~= 'number' then  -- of a wrong type
    redis.call('UNLINK', KEYS[1])
  elseif many > 0 then
    redis.call('RENAME', KEYS[1], KEYS[2])  -- keeps its time to live
  end
end
local taken = redis.call('ZPOPMIN', KEYS[2], ARGV[2])
local names = {}
for at = 1, #taken, 2 do
  if not redis.call('ZSCORE', KEYS[1], taken[at]) then
    names[#names + 1] = taken[at]
  end
end
return {#taken / 2, names}
