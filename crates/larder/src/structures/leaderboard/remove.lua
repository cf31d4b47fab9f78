-- remove: members leave the board.
--
-- KEYS[1] scores   KEYS[2] orders   (as in submit.lua)
-- ARGV    members
-- returns for each member the score it had, '' for none
-- cost    O(log n) a member, one round trip
-- why Lua score and order go together
local answer = {}
local half = redis.call('EXISTS', KEYS[1], KEYS[2]) < 2
local left = half and 0 or redis.call('ZCARD', KEYS[1])
for at, member in ipairs(ARGV) do
  answer[at] = ''
  -- Counted here, since a key that is gone is not to be asked for in a slot on its way to another node.
  local order = left > 0 and redis.call('HGET', KEYS[2], member)
  local score = order and redis.call('ZSCORE', KEYS[1], order .. member)
  if score then
    answer[at], left = score, left - 1
    redis.call('HDEL', KEYS[2], member)
    redis.call('ZREM', KEYS[1], order .. member)
    -- The count of orders alone is no board.
    if left == 0 then redis.call('UNLINK', KEYS[2]) end
  end
end
return answer
