-- expire_tag: all that carries a tag is no longer fresh; it stays, to stand in for a source that fails.
--
-- KEYS[1] generation of the tag
-- ARGV[1] its new soft half, 8 bytes
-- returns 1
-- cost    O(1), one round trip
-- why Lua: SETRANGE would make a tag that is not there, and what carried it would live
local size = redis.pcall('STRLEN', KEYS[1])
if size == 0 then
  return 1
end
local marked = size
if size == 16 then
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then
    redis.call('PEXPIRE', KEYS[1], left)  -- first, since a full server refuses SETRANGE and not this
  end
  marked = redis.pcall('SETRANGE', KEYS[1], 8, ARGV[1])
end
if marked ~= 16 then  -- no generation, or refused: then all that carries it is dead
  redis.call('UNLINK', KEYS[1])
end
return 1
