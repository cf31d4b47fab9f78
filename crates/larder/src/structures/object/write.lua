-- write: set some fields of an object and remove others, if it is as it should be.
--
-- KEYS[1] the object, a hash
-- ARGV[1] 'any', or if it is to be 'there', or 'absent'   ARGV[2] expire after, ms; 0: as it is
-- ARGV[3] how many fields are set, then the name and the value of each, then the names of those that are removed
-- returns 1: written     0: it was not as it should be, nothing changed
-- cost    O(fields written), at most a thousand
-- why Lua: what is looked at, set, removed and given a time is one step
local object, when, set = KEYS[1], ARGV[1], tonumber(ARGV[3])
if when ~= 'any' and (redis.call('EXISTS', object) == 1) ~= (when == 'there') then
  return 0
end
local last = 3 + 2 * set
if set > 0 then
  redis.call('HSET', object, unpack(ARGV, 4, last))
end
if #ARGV > last then
  redis.call('HDEL', object, unpack(ARGV, last + 1))
end
if ARGV[2] ~= '0' then
  redis.call('PEXPIRE', object, ARGV[2])
end
return 1
