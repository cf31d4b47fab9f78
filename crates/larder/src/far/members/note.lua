-- note: write down that an entry carries a tag.
--
-- KEYS[1] members of the tag, a sorted set by the time at which each ends
-- ARGV[1] the name of the entry   ARGV[2] how long it is kept, ms   ARGV[3] the most members
-- returns 1
-- cost    O(log n), and O(log n) for each that is over or too many: a hundred at most, the rest goes with the next
-- why Lua: who comes, who goes and how long all of it is kept are one step, by the server's clock
local members, keep = KEYS[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', members, '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('ZREM', members, unpack(over))
end
redis.call('ZADD', members, now + keep, ARGV[1])
local many = redis.call('ZCARD', members) - tonumber(ARGV[3])
if many > 0 then
  redis.call('ZREMRANGEBYRANK', members, 0, math.min(many, 100) - 1)
end
if redis.call('PTTL', members) < keep then
  redis.call('PEXPIRE', members, keep)
end
return 1
