-- guard_lease: the first half of a guard, where value and lease are on the way from one node to another: claim the lease.
--
-- KEYS[1] lease
-- ARGV[1] token   ARGV[2] guard for, ms, > 0
-- returns 1, or an error when 256 guards are open: then this is none
-- cost    O(guards open on the key), one round trip
-- why Lua: a guard joins those of other writers, and takes a load's place
local left = redis.call('PTTL', KEYS[1])
-- first, since a full server refuses a SET and not this; for no less than the guards of others have left
redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[2]), left))
if not claim(KEYS[1], ARGV[1], ARGV[2]) then
  return redis.error_reply('ERR 256 writers guard this key already')
end
return 1
