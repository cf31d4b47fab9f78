-- What the scripts that end entries share: how writers' guards are read. It stands in front of each of them.
--
-- A guard list is 'W', a mark ('=' nothing came between, '!' something did), then for each open guard 29 bytes: the
-- token, and the deadline in 13 digits, server time in ms. As many as there are writers of one key at once.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The guards that are open, without that of `own`; and the latest deadline among them, or `latest`.
local function open_guards(record, own, now, latest)
  local open = {}
  for at = 3, #record - 28, 29 do
    local guard = string.sub(record, at, at + 28)
    local deadline = tonumber(string.sub(guard, 17))
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

