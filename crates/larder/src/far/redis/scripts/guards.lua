-- What the scripts that end entries share: how writers' guards are read. It stands in front of each of them.
--
-- A guard list is 'W', a mark ('=' nothing came between, '!' something did), then for each open guard 29 bytes: the
-- token, and the deadline in 13 digits, server time in ms. At most 256: as many writers of one key at once.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The guards that are open, without that of `own`; and the latest deadline among them, or `latest`.
local function open_guards(record, own, now, latest)
  local open = {}
  for at = 3, #record - 28, 29 do
    local guard = string.sub(record, at, at + 28)
    local digits = string.match(string.sub(guard, 17), '^%d+$')  -- not "inf", which is a number too
    local deadline = digits and tonumber(digits)
    if deadline and deadline > now and string.sub(guard, 1, 16) ~= own then
      open[#open + 1] = guard
      latest = math.max(latest, deadline)
    end
  end
  return table.concat(open), latest
end

local function is_guarded(record)
  return type(record) == 'string' and string.sub(record, 1, 1) == 'W'
end

-- Ends every load under way, and the guard of `own`; guards of others stay, and are told that something came between.
-- Written over, or removed and not touched again: on a slot that is being moved even a SET of what was removed fails.
local function fin(lease, own)
  local record = redis.pcall('GET', lease)
  local open, now, latest = '', 0, 0
  if is_guarded(record) then
    now = now_ms()
    open, latest = open_guards(record, own, now, 0)
  end
  if open == '' then
    redis.call('UNLINK', lease)
    return
  end
  redis.call('PEXPIRE', lease, latest - now)  -- first, since a full server refuses a SET and not this
  redis.call('SET', lease, 'W!' .. open, 'PX', latest - now)
end

-- Adds the guard of `own` to those that are open, or puts it in the place of what is there. False: there are too many.
local function claim(lease, own, ms)
  local now = now_ms()
  local deadline = now + ms
  local record = redis.pcall('GET', lease)
  local mark, open, latest = 'W=', '', deadline
  if is_guarded(record) then
    open, latest = open_guards(record, own, now, deadline)
    if #open >= 256 * 29 then
      return false
    end
    if open ~= '' then
      mark = string.sub(record, 1, 2)
    end
  end
  redis.call('SET', lease, mark .. open .. own .. string.format('%013d', deadline), 'PX', latest - now)
  return true
end

-- Marks a value as no longer fresh; what cannot be marked goes.
local function mark(value)
  local flags = redis.pcall('GETRANGE', value, 2, 2)
  local marked = flags
  if type(flags) == 'string' and flags ~= '' then
    local byte = string.byte(flags)
    marked = redis.pcall('SETRANGE', value, 2, string.char(byte < 128 and byte + 128 or byte))
  end
  if type(marked) ~= 'number' then  -- too short, of a wrong type, or refused
    redis.call('UNLINK', value)
  end
end

