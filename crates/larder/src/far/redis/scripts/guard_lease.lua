-- guard_lease: the first half of a guard, where value and lease are on the way from one node to another: claim the lease.
--
-- KEYS[1] lease
-- ARGV[1] token   ARGV[2] guard for, ms, > 0
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: a guard joins those of other writers, and takes a load's place
redis.call('PEXPIRE', KEYS[1], ARGV[2])  -- first, since a full server refuses a SET and not this
claim(KEYS[1], ARGV[1], ARGV[2])
return 1
