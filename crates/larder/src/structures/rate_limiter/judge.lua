-- judge: may this go on under every limit? If so, take it from each; if not, from none.
--
-- KEYS[i]  what limit i counted: a sorted set of marks (log), a hash (counter: window, count, before;
--          bucket: tokens, at). All carry the same {hash tag}, so they share a slot.
-- ARGV[1]  cost, a whole number > 0   ARGV[2] '1': take, '0': only look   ARGV[3] mark, bytes no other call has
-- ARGV[4i] to ARGV[4i+3]  limit i: 'log' | 'counter' | 'bucket'; quota (bucket: burst); period, us; rate (bucket:
--          tokens a period)
-- returns  {1 allowed or 0 not, then for each limit: remaining, us until it would allow (0 it does, -1 it
--          never will), us until it is as if untouched}
-- cost     O(log n + cost) a log, O(1) the others; a log has at most its quota of marks; one round trip
-- full     its first write is one that a full server refuses: then it did nothing
-- why Lua  nobody may take between the look and the taking; one clock, the server's, for all processes
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local cost, mark = tonumber(ARGV[1]), ARGV[3]

local function whole(number)
  return string.format('%.0f', number)
end

-- What somebody else wrote there is no number, and counts as nothing.
local function number(text)
  local read = text and tonumber(text)
  if read and read >= 0 and read < 2 ^ 53 then return read end
  return nil
end

-- Each gives: free, us to wait, us to rest, and what to do to take.
local judges = {}

-- Marks younger than a period count. Those from after now are from before the clock was set back: they
-- count while they are nearer than a period, and are forgotten otherwise.
function judges.log(key, quota, period)
  local oldest, newest = '(' .. whole(now - period), whole(now + period)
  local free = quota - redis.call('ZCOUNT', key, oldest, newest)
  local wait, rest = 0, 0
  if cost > quota then
    wait = -1
  elseif cost > free then
    local last = redis.call('ZRANGE', key, oldest, newest, 'BYSCORE', 'LIMIT', cost - free - 1, 1, 'WITHSCORES')
    wait = tonumber(last[2]) + period - now
  end
  local youngest = redis.call('ZRANGE', key, newest, oldest, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
  if youngest[2] then rest = tonumber(youngest[2]) + period - now end
  return free, wait, rest, function()
    for at = 1, cost do
      redis.call('ZADD', key, whole(now), mark .. at)
    end
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - period))
    redis.call('ZREMRANGEBYSCORE', key, '(' .. newest, '+inf')
    redis.call('PEXPIRE', key, whole(math.ceil(period / 1000)))
    return free - cost, math.max(rest, period)
  end
end

-- The window before counts with the part of it that is not yet a period ago.
function judges.counter(key, quota, period)
  local kept = redis.call('HMGET', key, 'window', 'count', 'before')
  local passed = math.fmod(now, period)
  local window = (now - passed) / period
  local was, count, before = number(kept[1]), 0, 0
  if was == window or was == window + 1 then
    count, before = number(kept[2]) or 0, number(kept[3]) or 0
  elseif was == window - 1 then
    before = number(kept[2]) or 0
  end
  local left = period - passed
  local free = quota - count - before * left / period
  local wait, rest = 0, 0
  if cost > quota then
    wait = -1
  elseif cost > free + 1e-9 then
    if count + cost <= quota then
      wait = left - (quota - count - cost) * period / before
    else
      wait = left + math.max(0, period - (quota - cost) * period / count)
    end
    wait = math.max(1, wait)
  end
  if count > 0 then
    rest = left + period
  elseif before > 0 then
    rest = left
  end
  return free, wait, rest, function()
    redis.call('HSET', key, 'window', whole(window), 'count', whole(count + cost), 'before', whole(before))
    redis.call('PEXPIRE', key, whole(math.ceil((left + period) / 1000)))
    return free - cost, left + period
  end
end

-- Nothing there is a full bucket. A clock that was set back refills from where it stands now.
function judges.bucket(key, burst, period, rate)
  local kept = redis.call('HMGET', key, 'tokens', 'at')
  local tokens, at = number(kept[1]), number(kept[2])
  if not tokens or not at then
    tokens = burst
  else
    tokens = math.min(burst, tokens + math.max(0, now - at) * rate / period)
  end
  local function us(missing) return missing * period / rate end
  local wait = 0
  if cost > burst then
    wait = -1
  elseif cost > tokens + 1e-9 then
    wait = math.max(1, us(cost - tokens))
  end
  return tokens, wait, us(burst - tokens), function()
    tokens = math.max(0, tokens - cost)
    redis.call('HSET', key, 'tokens', string.format('%.17g', tokens), 'at', whole(now))
    redis.call('PEXPIRE', key, whole(math.ceil(us(burst - tokens) / 1000)))
    return tokens, us(burst - tokens)
  end
end

local allowed, each = true, {}
for at, key in ipairs(KEYS) do
  local judge = judges[ARGV[4 * at]]
  local quota, period, rate = tonumber(ARGV[4 * at + 1]), tonumber(ARGV[4 * at + 2]), tonumber(ARGV[4 * at + 3])
  local free, wait, rest, take = judge(key, quota, period, rate)
  each[at] = { free, wait, rest, take }
  allowed = allowed and wait == 0
end

local answer = { allowed and 1 or 0 }
for _, one in ipairs(each) do
  local free, rest = one[1], one[3]
  if allowed and ARGV[2] == '1' then
    free, rest = one[4]()
  end
  table.insert(answer, math.max(0, math.floor(free + 1e-9)))
  table.insert(answer, math.ceil(one[2]))
  table.insert(answer, math.ceil(rest))
end
return answer
