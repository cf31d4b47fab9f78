-- around: a member, and those next to it.
--
-- KEYS[1] scores   KEYS[2] orders   (as in submit.lua)
-- ARGV[1] 'higher' | 'lower' is better   ARGV[2] member   ARGV[3] how many on either side
-- returns {how many there are, rank of the first given from 0 (-1: the member is not there), then
--         <order><member> and score in turn}
-- cost    O(log n + those given), one round trip
-- why Lua the rank must still be true when its neighbours are read
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then return { 0, -1 } end
local higher, answer = ARGV[1] == 'higher', { redis.call('ZCARD', KEYS[1]), -1 }
local order = redis.call('HGET', KEYS[2], ARGV[2])
local rank = order and redis.call(higher and 'ZREVRANK' or 'ZRANK', KEYS[1], order .. ARGV[2])
if not rank then return answer end
local first, last = math.max(0, rank - tonumber(ARGV[3])), rank + tonumber(ARGV[3])
answer[2] = first
local rows
if higher then
  rows = redis.call('ZRANGE', KEYS[1], first, last, 'REV', 'WITHSCORES')
else
  rows = redis.call('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
end
for _, part in ipairs(rows) do table.insert(answer, part) end
return answer
