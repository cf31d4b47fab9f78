-- push: put a job at the end of the queue, or among those to come later.
--
-- KEYS[1] jobs, a stream   KEYS[2] later, a sorted set by due time   KEYS[3] once, a sorted set by end of window
-- ARGV[1] id of the job   ARGV[2] body   ARGV[3] how many jobs there may be, waiting, claimed and later
-- ARGV[4] due: '' now, '+n' in n ms, 'n' at n ms since 1970
-- ARGV[5] what it is pushed once under, or ''   ARGV[6] for how long, ms
-- returns 1: pushed   0: the queue is full   2: it was pushed under that name before   3: so many names are kept
-- cost    O(log n), one round trip
-- why Lua: the bound and the name pushed under must hold when two push at once
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local once = ARGV[5]
if once ~= '' then
  local till = redis.call('ZSCORE', KEYS[3], once)
  if till and tonumber(till) > now then
    return 2
  end
end
if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then
  return 0
end
if once ~= '' then
  local over = redis.call('ZRANGE', KEYS[3], '-inf', '(' .. string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 100)
  if redis.call('ZCARD', KEYS[3]) - #over >= 1000000 then
    return 3
  end
  -- Added before others are taken away: on a slot that is on its way a key must not be asked for after it was removed.
  redis.call('ZADD', KEYS[3], now + ARGV[6], once)
  for _, name in ipairs(over) do
    if name ~= once then
      redis.call('ZREM', KEYS[3], name)
    end
  end
  if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[6]) then
    redis.call('PEXPIRE', KEYS[3], ARGV[6])
  end
end
local due = ARGV[4]
if due ~= '' then
  local at = tonumber(due)
  if string.sub(due, 1, 1) == '+' then
    at = at + now
  end
  if at > now then
    redis.call('ZADD', KEYS[2], at, string.format('%s 0 %.0f ', ARGV[1], now) .. ARGV[2])
    return 1
  end
end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[2], 'j', ARGV[1], 'n', 0, 't', string.format('%.0f', now))
return 1
