-- together: the members of some sets put together, if they are not too many to look at.
--
-- KEYS sets, of one slot
-- ARGV[1] SUNION, SINTER or SDIFF   ARGV[2] the most members looked at
-- returns {1, members}     {0, how many}: more than that
-- cost    O(members looked at), which are bounded
-- why Lua: how many there are and what they are is looked at in one step
local all = 0
for _, set in ipairs(KEYS) do
  all = all + redis.call('SCARD', set)
end
if all > tonumber(ARGV[2]) then
  return {0, all}
end
return {1, redis.call(ARGV[1], unpack(KEYS))}
