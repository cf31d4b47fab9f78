-- rebase: queue a pending write anew, above what its source has stored.
--
-- KEYS[1] pending write   KEYS[2] queue      both carry the same {hash tag}, so they share a slot
-- ARGV[1] token   ARGV[2] the id right above the one that the source has   ARGV[3] encoded key
-- ARGV[4] the key as its cache writes it
-- returns its new id     0: the pending write is another by now, or gone; nothing changed
-- cost    O(1), one round trip
-- why Lua: ids went back (a flush, a failover), and the write must be above the source's without passing a newer one
local pending = redis.pcall('GET', KEYS[1])
if type(pending) ~= 'string' or string.sub(pending, 1, 16) ~= ARGV[1] then
  return 0
end
local bar = string.find(pending, '|', 17, true)
if not bar then
  return 0
end
redis.call('PERSIST', KEYS[1])  -- first, since a full server refuses an XADD and not this; it has no end anyway
local fields = {'k', ARGV[3], 't', ARGV[1], 'n', ARGV[4]}
local id = redis.pcall('XADD', KEYS[2], ARGV[2], unpack(fields))
if type(id) ~= 'string' then  -- the stream is past it
  id = redis.call('XADD', KEYS[2], '*', unpack(fields))
end
redis.call('SET', KEYS[1], ARGV[1] .. id .. string.sub(pending, bar))
return id
