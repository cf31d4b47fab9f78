-- fail: a job did not succeed; it comes again later, or is buried.
--
-- KEYS[1] jobs, a stream   KEYS[2] later   KEYS[3] dead, a stream
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] entry   ARGV[4] deliveries when it was claimed
-- ARGV[5] again in, ms   ARGV[6] attempts at most, 0 to bury it   ARGV[7] dead letters at most   ARGV[8] why
-- returns 1: it comes again   2: it is a dead letter   0: another has it, or it is gone already
-- cost    O(log n), one round trip
-- why Lua: it must be in one place at any time, and in one at least
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if held.err then
  return string.find(held.err, 'NOGROUP') and 0 or held
end
if not held[1] or held[1][2] ~= ARGV[2] or held[1][4] ~= tonumber(ARGV[4]) then
  return 0
end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if not entry then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  return 0
end
local fields = {}
for at = 1, #entry[2], 2 do
  fields[entry[2][at]] = entry[2][at + 1]
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local job, pushed, body = fields.j or '0', fields.t or '0', fields.b or ''
local failed = (tonumber(fields.n) or 0) + held[1][4]
local answer = 1
-- It is written down again before it is taken away: a full memory refuses the first, and nothing was changed.
if failed >= tonumber(ARGV[6]) then
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[7], '*', 'b', body, 'j', job, 'n', failed, 't', pushed, 'e', ARGV[8])
  answer = 2
else
  redis.call('ZADD', KEYS[2], now + ARGV[5], string.format('%s %d %s ', job, failed, pushed) .. body)
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return answer
