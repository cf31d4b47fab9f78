-- store: keep a value only while its load still holds the lease.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] lease token   ARGV[2] envelope, bytes   ARGV[3] keep for, ms, > 0
-- returns 1: stored, lease given up     0: the lease was lost, nothing changed
-- cost    O(1), one round trip
-- why Lua: no other client may write between the check and the store
if redis.pcall('GET', KEYS[2]) ~= 'T' .. ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
redis.call('EXISTS', KEYS[1])  -- under NOLOOP our own SET ended our tracking: read once more
return 1
