-- end: remove a value, and see to it that no load begun before stores over that.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] token of the guard that ends with it, or ''
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: guards of writers that have not committed must outlive it, and be told of it
redis.call('UNLINK', KEYS[1])
fin(KEYS[2], ARGV[1])
return 1
