-- end_lease: the first half of an end, where value and lease are on the way from one node to another: end the lease.
--
-- KEYS[1] lease
-- ARGV[1] token of the guard that ends with it, or ''
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: guards of writers that have not committed must outlive it, and be told of it
fin(KEYS[1], ARGV[1])
return 1
