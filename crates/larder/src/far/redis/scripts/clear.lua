-- clear: the source has a write: it need not wait any longer.
--
-- KEYS[1] pending write   KEYS[2] queue      both carry the same {hash tag}, so they share a slot
-- ARGV[1] consumer group   ARGV[2] token, or '' where there was no pending write   ARGV[3] id of the write, or ''
-- ARGV[4..] ids of the entries that were claimed before the pending write was read
-- returns 1: the pending write went     0: it is another by now, which has an entry of its own
-- cost    O(entries), one round trip
-- why Lua: a newer write may have taken its place
local pending = redis.pcall('GET', KEYS[1])
local own = ARGV[2] .. ARGV[3] .. '|'
local cleared = 0
if ARGV[2] ~= '' and type(pending) == 'string' and string.sub(pending, 1, #own) == own then
  redis.call('UNLINK', KEYS[1])
  cleared = 1
end
redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, 4))
redis.call('XDEL', KEYS[2], unpack(ARGV, 4))
return cleared
