-- increment: add to a number in one field of an object; one that is not there is 0.
--
-- KEYS[1] the object, a hash
-- ARGV[1] HINCRBY or HINCRBYFLOAT   ARGV[2] field   ARGV[3] how much   ARGV[4] expire after, ms; 0: as it is
-- returns the number after it, in digits; an error when it is no number, or passes its bounds
-- cost    O(1)
-- why Lua: the number and the time that the object has left change together
redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3])
if ARGV[4] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return redis.call('HGET', KEYS[1], ARGV[2])  -- a number of Lua has 53 bits
