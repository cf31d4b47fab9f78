-- guard: a writer claims a key for the length of its commit: until it ends, nothing is stored.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] token   ARGV[2] guard for, ms, > 0
-- returns 1
-- cost    O(guards open on the key), one round trip
-- why Lua: a guard joins those of other writers, and takes a load's place
redis.call('UNLINK', KEYS[1])
local now = now_ms()
local deadline = now + ARGV[2]
local record = redis.pcall('GET', KEYS[2])
local mark, open, latest = 'W=', '', deadline
if is_guarded(record) then
  open, latest = open_guards(record, ARGV[1], now, deadline)
  if open ~= '' then
    mark = string.sub(record, 1, 2)
  end
end
redis.call('SET', KEYS[2], mark .. open .. ARGV[1] .. string.format('%013d', deadline), 'PX', latest - now)
return 1
