-- expire: mark a value as no longer fresh; it stays, to stand in for a source that fails.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: a load begun before must not store what would be fresh
fin(KEYS[2], '')
mark(KEYS[1])
return 1
