-- put: keep a value whose only home is the cache, and end every older load.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] envelope, bytes   ARGV[2] keep for, ms, > 0
-- returns 1: stored
-- cost    O(1), one round trip
-- why Lua: a load that began before must not find its lease once the value is there
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('UNLINK', KEYS[2])
return 1
