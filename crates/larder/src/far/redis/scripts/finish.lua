-- finish: keep what a writer committed, if nobody else wrote or ended the key since its guard was opened.
--
-- KEYS[1] value   KEYS[2] lease      both carry the same {hash tag}, so they share a slot
-- ARGV[1] token of the guard   ARGV[2] envelope, bytes   ARGV[3] keep for, ms, > 0
-- returns 1: stored, the guard is over     0: nothing is there, the guard is over, guards of others are told
-- cost    O(guards open on the key), one round trip
-- why Lua: nobody may write or end the key between the look at the guards and the store
local record = redis.pcall('GET', KEYS[2])
-- Its guard alone and unmarked. One of another that has run out counts as well: its writer may be dead, and have
-- committed before us or after us.
local alone = type(record) == 'string' and #record == 31 and string.sub(record, 1, 18) == 'W=' .. ARGV[1]
if alone then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])  -- first: a full server refuses it, and then nothing was done
  redis.call('UNLINK', KEYS[2])
  return 1
end
redis.call('UNLINK', KEYS[1])
fin(KEYS[2], ARGV[1])
return 0
