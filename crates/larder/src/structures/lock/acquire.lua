-- acquire: take the lock, or say for how long it is another's.
--
-- KEYS[1] lock   KEYS[2] fence, the last number given
-- ARGV[1] token of this try   ARGV[2] time of the lock, ms   ARGV[3] how long the fence is kept, ms
-- returns {1, fence}: it is ours, also when a try before had it already   {0, ms}: another's, for at most so long
-- cost    O(1), one round trip
-- why Lua: the number must grow with every holder, and no two may get it at once
local held = redis.call('GET', KEYS[1])
if held then
  local token, fence = string.match(held, '^(%x+) (%d+)$')
  if token == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return { 1, fence }
  end
  return { 0, math.max(redis.call('PTTL', KEYS[1]), 0) }
end
-- Microseconds of the server's clock, or one more than the last: so it grows also when Redis has lost the last.
local time = redis.call('TIME')
local fence = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
if last >= fence then
  fence = last + 1
end
fence = string.format('%.0f', fence)
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return { 1, fence }
