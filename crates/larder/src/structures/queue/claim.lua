-- claim: take jobs, first moving those that are due, then taking over from workers that are gone.
--
-- KEYS[1] jobs, a stream   KEYS[2] later   KEYS[3] dead, a stream
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] how many, 1 to 100   ARGV[4] visibility, ms
-- ARGV[5] attempts at most   ARGV[6] dead letters at most   ARGV[7] where the last look for the gone ended, or '0-0'
-- returns {jobs, where this look ended, ms until the next is due or -1, buried}; a job is
--         {entry, id, attempts that failed, deliveries, pushed at ms, body}
-- cost    O(jobs moved, taken over and taken), each at most 100, and 200 claims looked at for each that is
--         wanted; one round trip
-- why Lua: a job that is due must not be in two places, and a poisonous one must not be handed out once too often
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- What is due is moved one by one, so that a hundred large ones are not in memory at once, and taken away in the
-- end: on a slot that is on its way a key must not be asked for after it was removed.
local moved, bytes, wait, failure = {}, 0, -1, nil
for at = 0, 100 do
  local head = redis.call('ZRANGE', KEYS[2], at, at, 'WITHSCORES')
  if not head[1] then
    break
  end
  wait = math.max(0, tonumber(head[2]) - now)
  if wait > 0 or at == 100 or bytes > 1048576 then
    break
  end
  wait = -1
  local job, failed, pushed, body = string.match(head[1], '^(%x+) (%d+) (%d+) (.*)$')
  if not job then -- nobody of ours wrote it: let whoever reads it say so
    job, failed, pushed, body = '0', 0, string.format('%.0f', now), head[1]
  end
  local added = redis.pcall('XADD', KEYS[1], '*', 'b', body, 'j', job, 'n', failed, 't', pushed)
  if added.err then
    failure = added
    break
  end
  moved[#moved + 1] = head[1]
  bytes = bytes + #head[1]
end
if #moved > 0 then
  redis.call('ZREM', KEYS[2], unpack(moved))
end
-- Under a full memory nothing is moved: the jobs wait where they are.
if failure and not string.find(failure.err, 'OOM') then
  return failure
end

local function group_of(command)
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err and string.find(answer.err, 'NOGROUP') then
    if redis.call('EXISTS', KEYS[1]) == 0 then
      return nil -- no job was ever pushed, or all are gone: the group is made when there is one
    end
    -- From the beginning: what is in the stream and was not finished is handed out again.
    redis.call('XGROUP', 'CREATE', KEYS[1], group, '0')
    answer = redis.pcall(unpack(command))
  end
  return answer
end

local jobs, buried = {}, 0
local function take(entry, deliveries)
  local fields = {}
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
  end
  local failed = tonumber(fields.n) or 0
  if failed + deliveries > tonumber(ARGV[5]) then
    local letter = redis.pcall('XADD', KEYS[3], 'MAXLEN', ARGV[6], '*', 'b', fields.b or '', 'j', fields.j or '0',
      'n', failed + deliveries - 1, 't', fields.t or '0', 'e', 'no worker that took it has said how it ended')
    if letter.err then
      return -- no room: it stays claimed by us, and comes up again
    end
    redis.call('XACK', KEYS[1], group, entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
    buried = buried + 1
    return
  end
  jobs[#jobs + 1] = { entry[1], fields.j or '0', failed, deliveries, fields.t or '0', fields.b or '' }
end

-- One look passes ten claims for each job that is wanted; several, so that one job that was left behind is found
-- among a thousand that are being worked on.
local cursor, known = ARGV[7], true
for _ = 1, 20 do
  local gone = group_of({ 'XAUTOCLAIM', KEYS[1], group, consumer, ARGV[4], cursor, 'COUNT', count - #jobs })
  known = gone ~= nil
  if not known then
    cursor = '0-0'
    break
  end
  if gone.err then
    return gone
  end
  cursor = gone[1]
  for _, entry in ipairs(gone[2]) do
    local pending = redis.call('XPENDING', KEYS[1], group, entry[1], entry[1], 1)
    if pending[1] then
      take(entry, pending[1][4])
    end
  end
  if cursor == '0-0' or #jobs == count then
    break
  end
end
if known then
  if #jobs < count then
    local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #jobs, 'STREAMS', KEYS[1], '>')
    if fresh then
      for _, entry in ipairs(fresh[1][2]) do
        take(entry, 1)
      end
    end
  end
end

return { jobs, cursor, wait, buried }
