-- tidy: forget consumers that are gone and hold nothing.
--
-- KEYS[1] jobs, a stream
-- ARGV[1] group   ARGV[2] gone is who was not seen for so many ms
-- returns how many were forgotten
-- cost    O(consumers), 1,000 at most; one round trip
-- why Lua: to forget a consumer is to forget what it holds, so it must hold nothing when that happens
local all = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if all.err then
  return 0
end
local forgotten = 0
for at = 1, math.min(#all, 1000) do
  local one = {}
  for field = 1, #all[at], 2 do
    one[all[at][field]] = all[at][field + 1]
  end
  if one.pending == 0 and one.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one.name)
    forgotten = forgotten + 1
  end
end
return forgotten
