-- replay: a dead letter is a job again, as if it were pushed now.
--
-- KEYS[1] jobs, a stream   KEYS[2] later   KEYS[3] dead, a stream
-- ARGV[1] which   ARGV[2] how many jobs there may be
-- returns 1: pushed   0: the queue is full   2: there is no such letter
-- cost    O(log n), one round trip
-- why Lua: it must not be pushed twice, nor be lost in between
local letter = redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[1])[1]
if not letter then
  return 2
end
if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then
  return 0
end
local fields = {}
for at = 1, #letter[2], 2 do
  fields[letter[2][at]] = letter[2][at + 1]
end
redis.call('XADD', KEYS[1], '*', 'b', fields.b or '', 'j', fields.j or '0', 'n', 0, 't', fields.t or '0')
redis.call('XDEL', KEYS[3], letter[1])
return 1
