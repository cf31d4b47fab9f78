-- guard: a writer claims a key for the length of its commit: until it ends, nothing is stored.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] token   ARGV[2] guard for, ms, > 0
-- returns 1, or an error when 256 guards are open: then this is none
-- cost    O(guards open on the key), one round trip
-- why Lua: a guard joins those of other writers, and takes a load's place
redis.call('UNLINK', KEYS[1])
if not claim(KEYS[2], ARGV[1], ARGV[2]) then
  return redis.error_reply('ERR 256 writers guard this key already')
end
return 1
