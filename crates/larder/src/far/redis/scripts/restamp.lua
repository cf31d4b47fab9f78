-- restamp: put a new header before the value that is there, while its load still holds the lease.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] lease token   ARGV[2] id of the envelope that was seen
-- ARGV[3] header, bytes, as long as the one it replaces   ARGV[4] keep for, ms, > 0
-- returns 1: done, lease given up     0: the lease was lost, nothing changed
--         2: another envelope or none is there; nothing changed, the lease stands
-- cost    O(header), one round trip; the value stays where it is
-- why Lua: no other client may write between the checks and the header
if redis.pcall('GET', KEYS[2]) ~= 'T' .. ARGV[1] then
  return 0
end
-- Of a key of another type this is an error, which is no id.
if redis.pcall('GETRANGE', KEYS[1], 8, 23) ~= ARGV[2] then
  return 2
end
redis.call('SETRANGE', KEYS[1], 0, ARGV[3])  -- first: refused for want of memory, it has changed nothing
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
redis.call('EXISTS', KEYS[1])  -- under NOLOOP our own writes ended our tracking: read once more
return 1
