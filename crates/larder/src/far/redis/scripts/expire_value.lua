-- expire_value: the second half of an expiry, where value and lease are on the way from one node to another: mark the value.
--
-- KEYS[1] value
-- returns 1
-- cost    O(1), one round trip
-- why Lua: SETRANGE would make a value that is not there
mark(KEYS[1])
return 1
