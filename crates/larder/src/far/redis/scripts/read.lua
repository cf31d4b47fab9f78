-- read: the value, or the lease to load it.
--
-- KEYS[1] value   KEYS[2] lease   KEYS[3] pending write, of a cache that writes behind
--         all carry the same {hash tag}, so they share a slot
-- ARGV[1] lease token   ARGV[2] lease time, ms, > 0   ARGV[3] id of the envelope the caller rejected, or ''
-- returns {1, value}: a value that was not rejected
--         {2, there}: the lease is granted to the token; there: 1 if the rejected value is still there, else 0
--         {3, lease, ms left, there}: somebody holds the lease, or left word that the source failed
--         {4, pending}: a write that the source does not have yet: it is the truth, and there is no lease beside it
-- cost    O(1), one round trip
-- why Lua: of all that miss, or reject the same envelope, one must load
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then  -- of a wrong type: not ours, and in the way
  redis.call('UNLINK', KEYS[1])
  value = false
end
if value and (ARGV[3] == '' or string.sub(value, 9, 24) ~= ARGV[3]) then
  return {1, value}
end
if KEYS[3] then
  local pending = redis.pcall('GET', KEYS[3])
  if type(pending) == 'string' then
    return {4, pending}
  end
end
local there = value and 1 or 0
local lease = redis.pcall('GET', KEYS[2])
local left = redis.call('PTTL', KEYS[2])
if type(lease) == 'string' and left >= 0 then
  return {3, lease, left, there}
end
-- replaces what is no lease as well: a key of a wrong type, or one without an end, which nobody would ever give up
redis.call('SET', KEYS[2], 'T' .. ARGV[1], 'PX', ARGV[2])
redis.call('EXISTS', KEYS[2])  -- under NOLOOP our own SET ended our tracking: read once more
return {2, there}
