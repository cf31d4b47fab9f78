-- claim: the next entries of a queue, for the one worker that holds its partition.
--
-- KEYS[1] lease of the worker   KEYS[2] queue      both carry the same {hash tag}, so they share a slot
-- ARGV[1] lease token   ARGV[2] consumer group   ARGV[3] '>' for new ones, or the id after which those claimed before
--         are given once more   ARGV[4] the most entries, > 0
-- returns {1, entries}: each {id, fields}; fields are nil where somebody removed the entry
--         {0}: the lease is lost, nothing was claimed
-- cost    O(entries), one round trip
-- why Lua: whoever has lost the partition must not take what is the next one's
if redis.call('GET', KEYS[1]) ~= 'T' .. ARGV[1] then
  return {0}
end
if redis.call('EXISTS', KEYS[2]) == 0 then  -- nothing was ever written: no reason to make a stream
  return {1, {}}
end
local function read()
  -- one name for all workers: each goes on where the last one was
  return redis.pcall('XREADGROUP', 'GROUP', ARGV[2], 'worker', 'COUNT', ARGV[4], 'STREAMS', KEYS[2], ARGV[3])
end
local answer = read()
if type(answer) == 'table' and answer.err and string.find(answer.err, 'NOGROUP', 1, true) then
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0')
  answer = read()
end
if type(answer) ~= 'table' then
  return {1, {}}
end
if answer.err then
  return answer
end
return {1, answer[1][2]}
