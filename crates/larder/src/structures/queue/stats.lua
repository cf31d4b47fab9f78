-- stats: how much there is.
--
-- KEYS[1] jobs, a stream   KEYS[2] later   KEYS[3] dead, a stream
-- ARGV[1] group
-- returns {in the stream, of these claimed, later, dead, age of the oldest in the stream in ms or -1}
-- cost    O(consumers), one round trip
-- why Lua: figures of one moment
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if claimed.err then
  if not string.find(claimed.err, 'NOGROUP') then
    return claimed
  end
  claimed = { 0 }
end
local age = -1
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if oldest then
  age = math.max(0, now - tonumber(string.match(oldest[1], '^%d+')))
end
return { redis.call('XLEN', KEYS[1]), claimed[1], redis.call('ZCARD', KEYS[2]), redis.call('XLEN', KEYS[3]), age }
