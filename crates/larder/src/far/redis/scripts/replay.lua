-- replay: queue a dead letter again, as the newest write of its key.
--
-- KEYS[1] value   KEYS[2] lease   KEYS[3] pending write   KEYS[4] queue   KEYS[5] dead letters
--         all carry the same {hash tag}, so they share a slot
-- ARGV[1] id of the dead letter   ARGV[2] token
-- returns 1: it is pending again     0: there is no such dead letter     2: a newer write waits, nothing changed
-- cost    O(1), one round trip
-- why Lua: a write must not be in neither place, and must not take a newer one's
local letter = redis.call('XRANGE', KEYS[5], ARGV[1], ARGV[1])[1]
if not letter then
  return 0
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return 2
end
local fields = {}
for at = 1, #letter[2] - 1, 2 do
  fields[letter[2][at]] = letter[2][at + 1]
end
local id = redis.call('XADD', KEYS[4], '*', 'k', fields.k, 't', ARGV[2], 'n', fields.n)
redis.call('SET', KEYS[3], ARGV[2] .. id .. '|' .. fields.v)
redis.call('UNLINK', KEYS[1])
redis.call('UNLINK', KEYS[2])
redis.call('XDEL', KEYS[5], ARGV[1])
return 1
