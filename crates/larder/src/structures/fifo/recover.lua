-- recover: put back what a consumer that is gone had taken, the oldest to be taken first.
--
-- KEYS[1] items, a list   KEYS[2] consumers   KEYS[3] lease of the consumer   KEYS[4] what it has taken, a list
-- ARGV[1] consumer   ARGV[2] one that was not seen for so many seconds is forgotten
-- returns how many were put back, 100 at most   -1: it lives
-- cost    O(items put back), one round trip
-- why Lua: it may come back to life between the look and the move
if redis.call('EXISTS', KEYS[3]) == 1 then
  return -1
end
-- So many and no more: on a slot that is on its way a key must not be asked for after it was removed.
local there = redis.call('LLEN', KEYS[4])
local moved = math.min(there, 100)
for _ = 1, moved do
  redis.call('LMOVE', KEYS[4], KEYS[1], 'LEFT', 'RIGHT')
end
if moved == there then
  local time = redis.call('TIME')
  local seen = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
  -- Not at once: a consumer that was only paused may be given an item before it has said that it lives.
  if time[1] - seen > tonumber(ARGV[2]) then
    redis.call('ZREM', KEYS[2], ARGV[1])
  end
end
return moved
