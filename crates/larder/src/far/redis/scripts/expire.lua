-- expire: mark a value as no longer fresh; it stays, to stand in for a source that fails.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: a load begun before must not store what would be fresh
fin(KEYS[2], '')
local flags = redis.pcall('GETRANGE', KEYS[1], 2, 2)
local marked = flags
if type(flags) == 'string' and flags ~= '' then
  local byte = string.byte(flags)
  marked = redis.pcall('SETRANGE', KEYS[1], 2, string.char(byte < 128 and byte + 128 or byte))
end
if type(marked) ~= 'number' then  -- too short, of a wrong type, or refused
  redis.call('UNLINK', KEYS[1])
end
return 1
