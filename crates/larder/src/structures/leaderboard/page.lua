-- page: members by rank.
--
-- KEYS[1] scores   KEYS[2] orders   (as in submit.lua)
-- ARGV[1] 'higher' | 'lower' is better   ARGV[2] first rank, from 0   ARGV[3] last rank; before the first: none
-- returns {how many there are, then <order><member> and score in turn}
-- cost    O(log n + those given), one round trip
-- why Lua count and rows are of one moment; a board of which one half was evicted is none
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then return { 0 } end
local answer = { redis.call('ZCARD', KEYS[1]) }
if tonumber(ARGV[3]) < tonumber(ARGV[2]) then return answer end
local rows
if ARGV[1] == 'higher' then
  rows = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3], 'REV', 'WITHSCORES')
else
  rows = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3], 'WITHSCORES')
end
for _, part in ipairs(rows) do table.insert(answer, part) end
return answer
