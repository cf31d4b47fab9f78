-- add: put members into a set that is kept within its bound.
--
-- KEYS[1] the set
-- ARGV[1] the most members, > 0   ARGV[2] expire after, ms; 0: as it is   ARGV[3..] members, a thousand at most
-- returns for each member 1: added     0: it was there     2: there is no room for it
-- cost    O(members given)
-- why Lua: nobody else may fill the room between the count and the member
local set, most, told = KEYS[1], tonumber(ARGV[1]), {}
local size, changed = redis.call('SCARD', set), false
for at = 3, #ARGV do
  local code = 0
  if redis.call('SISMEMBER', set, ARGV[at]) == 0 then
    code = 2
    if size < most then
      redis.call('SADD', set, ARGV[at])
      size, code = size + 1, 1
    end
  end
  changed = changed or code ~= 2
  told[#told + 1] = code
end
if changed and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', set, ARGV[2])
end
return told
