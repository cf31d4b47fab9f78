-- put: keep a value whose only home is the cache, and end every older load.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] envelope, bytes   ARGV[2] keep for, ms, > 0
-- returns 1: stored     0: a writer holds a guard; nothing is there, and the writer is told
-- cost    O(guards open on the key), one round trip
-- why Lua: a load that began before must not find its lease once the value is there
if is_guarded(redis.pcall('GET', KEYS[2])) then
  redis.call('UNLINK', KEYS[1])
  fin(KEYS[2], '')
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('UNLINK', KEYS[2])
return 1
