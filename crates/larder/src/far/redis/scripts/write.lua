-- write: keep a value that its source does not have yet, and queue it for that.
--
-- KEYS[1] value   KEYS[2] lease   KEYS[3] pending write   KEYS[4] queue      all carry the same {hash tag}
-- ARGV[1] token   ARGV[2] envelope, bytes   ARGV[3] keep for, ms, > 0   ARGV[4] encoded key
-- ARGV[5] the most entries that may wait   ARGV[6] the key as its cache writes it, for the sink
-- returns {1, id}: written, id in the queue     {0}: as many wait as may, nothing changed
-- cost    O(1), one round trip
-- why Lua: the queue's order is the order of the values; a load that began before must not find its lease
if redis.call('XLEN', KEYS[4]) >= tonumber(ARGV[5]) then
  return {0}
end
-- first, since a full server refuses it, and then nothing has happened
local id = redis.call('XADD', KEYS[4], '*', 'k', ARGV[4], 't', ARGV[1], 'n', ARGV[6])
redis.call('SET', KEYS[3], ARGV[1] .. id .. '|' .. ARGV[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('UNLINK', KEYS[2])
redis.call('EXISTS', KEYS[1])  -- under NOLOOP our own SET ended our tracking: read once more
return {1, id}
