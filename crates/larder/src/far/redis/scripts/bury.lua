-- bury: give a pending write up: it moves to the dead letters, and readers have it no more.
--
-- KEYS[1] value   KEYS[2] lease   KEYS[3] pending write   KEYS[4] queue   KEYS[5] dead letters
--         all carry the same {hash tag}, so they share a slot
-- ARGV[1] consumer group   ARGV[2] token   ARGV[3] id of the write   ARGV[4] encoded key
-- ARGV[5] the key as its cache writes it   ARGV[6] why, for people   ARGV[7..] ids of its entries
-- returns 1: it is a dead letter     0: the pending write is another by now; only the entries went
-- cost    O(entries), one round trip
-- why Lua: a newer write may have taken its place, and a write must not be in neither place
local pending = redis.pcall('GET', KEYS[3])
local own = ARGV[2] .. ARGV[3] .. '|'
local buried = 0
if type(pending) == 'string' and string.sub(pending, 1, #own) == own then
  -- first, since a full server refuses an XADD and not this: what is buried takes no more room than before
  redis.call('PERSIST', KEYS[3])
  redis.call('XADD', KEYS[5], '*', 'k', ARGV[4], 'n', ARGV[5], 'v', string.sub(pending, #own + 1), 'r', ARGV[6])
  redis.call('UNLINK', KEYS[1])
  redis.call('UNLINK', KEYS[2])
  redis.call('UNLINK', KEYS[3])
  buried = 1
end
redis.call('XACK', KEYS[4], ARGV[1], unpack(ARGV, 7))
redis.call('XDEL', KEYS[4], unpack(ARGV, 7))
return buried
