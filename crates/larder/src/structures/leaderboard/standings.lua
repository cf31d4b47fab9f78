-- standings: score and rank of some members.
--
-- KEYS[1] scores   KEYS[2] orders   (as in submit.lua)
-- ARGV[1] 'higher' | 'lower' is better   ARGV[2..] members
-- returns for each member: its score ('' for none), its rank from 0 (-1 for none)
-- cost    O(log n) a member, one round trip
-- why Lua all of one moment; and order and score are two steps
local answer, half = {}, redis.call('EXISTS', KEYS[1], KEYS[2]) < 2
for at = 2, #ARGV do
  local order = not half and redis.call('HGET', KEYS[2], ARGV[at])
  local score = order and redis.call('ZSCORE', KEYS[1], order .. ARGV[at])
  local rank = score
    and redis.call(ARGV[1] == 'higher' and 'ZREVRANK' or 'ZRANK', KEYS[1], order .. ARGV[at])
  table.insert(answer, score or '')
  table.insert(answer, rank or -1)
end
return answer
