-- submit: members reach scores, and the board stays within its bound.
--
-- KEYS[1] scores, a sorted set of <order><member>   KEYS[2] orders, a hash: member -> order, '' -> how many were
--         given. An order is 16 digits, so that of two with one score the first to reach it is better. Both carry
--         the same {hash tag}, so they share a slot. One without the other (it was evicted) is no board.
-- ARGV[1] 'set' | 'best' | 'add'   ARGV[2] 'higher' | 'lower' is better   ARGV[3] most members, 0: any number
-- ARGV[4] 'at' | 'idle' | 'never'  ARGV[5] when it expires, ms since 1970; or how long after this, ms
-- ARGV[6..] pairs: score (or what is added), member, not empty
-- returns a number: the score of this pair would be 2^53 or more, nothing was done
--         a list, for each pair: its score, what it was before ('' for nothing), its rank from 0 (-1: off the board)
-- cost    O(log n) a pair and a member that falls off (at most 1000 do); one round trip
-- full    its first write is one that a full server refuses: then it did nothing
-- why Lua order, score and bound are one step: nobody may be between them
local scores, orders = KEYS[1], KEYS[2]
local how, higher, most = ARGV[1], ARGV[2] == 'higher', tonumber(ARGV[3])
local MOST = 2 ^ 53 - 1

local function whole(number)
  return string.format('%.0f', number)
end

if redis.call('EXISTS', scores) ~= redis.call('EXISTS', orders) then
  redis.call('UNLINK', scores, orders)
end

local function now(member)
  local order = redis.call('HGET', orders, member)
  local score = order and redis.call('ZSCORE', scores, order .. member)
  return order, score and tonumber(score)
end

if how == 'add' then
  local sums = {}
  for at = 6, #ARGV, 2 do
    local member = ARGV[at + 1]
    if not sums[member] then
      local _, score = now(member)
      sums[member] = score or 0
    end
    sums[member] = sums[member] + tonumber(ARGV[at])
    if math.abs(sums[member]) > MOST then return (at - 4) / 2 end
  end
end

local reached = {}
for at = 6, #ARGV, 2 do
  local given, member = tonumber(ARGV[at]), ARGV[at + 1]
  local order, was = now(member)
  local score = given
  if how == 'add' then
    score = (was or 0) + given
  elseif how == 'best' and was and (was == given or (was > given) == higher) then
    score = was
  end
  if score ~= was then
    local count = redis.call('HINCRBY', orders, '', 1)
    if higher then count = 2 ^ 53 - count end
    local digits = string.format('%016.0f', count)
    redis.call('ZADD', scores, whole(score), digits .. member)
    -- After the new one: a key that is emptied is gone, and in a slot on its way to another node it cannot be made
    -- again on this one.
    if order then redis.call('ZREM', scores, order .. member) end
    redis.call('HSET', orders, member, digits)
  end
  table.insert(reached, { member, whole(score), was and whole(was) or '' })
end

if most > 0 then
  local over = math.min(redis.call('ZCARD', scores) - most, 1000)
  if over > 0 then
    local fallen = redis.call(higher and 'ZPOPMIN' or 'ZPOPMAX', scores, over)
    for at = 1, #fallen, 2 do
      redis.call('HDEL', orders, string.sub(fallen[at], 17))
    end
  end
end

if ARGV[4] ~= 'never' then
  local expire = ARGV[4] == 'at' and 'PEXPIREAT' or 'PEXPIRE'
  redis.call(expire, scores, ARGV[5])
  redis.call(expire, orders, ARGV[5])
end

local answer = {}
for _, one in ipairs(reached) do
  local order = redis.call('HGET', orders, one[1])
  local rank = order and redis.call(higher and 'ZREVRANK' or 'ZRANK', scores, order .. one[1])
  table.insert(answer, one[2])
  table.insert(answer, one[3])
  table.insert(answer, rank or -1)
end
return answer
