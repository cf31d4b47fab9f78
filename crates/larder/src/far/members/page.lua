-- page: some members of a tag, with the time each has left.
--
-- KEYS[1] members of the tag, a sorted set by the time at which each ends
-- ARGV[1] cursor, 0 at first   ARGV[2] about how many
-- returns {cursor, {name, ms left, ..}}: cursor 0 after the last page
-- cost    O(members of the page)
-- why Lua: what is left is counted by the server's clock
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {}
for at = 1, #page[2], 2 do
  local left = tonumber(page[2][at + 1]) - now
  if left > 0 then
    found[#found + 1] = page[2][at]
    found[#found + 1] = left
  end
end
return {page[1], found}
