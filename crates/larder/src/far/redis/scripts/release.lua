-- release: give a lease back, if it is still ours.
--
-- KEYS[1] lease
-- ARGV[1] lease token
-- returns 1: given back     0: it was not ours, nothing changed
-- cost    O(1), one round trip
-- why Lua: a lease must not be ended by someone who no longer holds it
if redis.pcall('GET', KEYS[1]) ~= 'T' .. ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
