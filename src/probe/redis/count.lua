-- How many instances are ready, by the clock of this Redis; it only reads.
-- KEYS  1 the shared key  2 ready instances (zset: id -> deadline in ms)
-- Returns {ready instances, 1 if the shared key says ready}: other producers of that key record no instances.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- As in beat.lua: no instance sets a later deadline, and a key of another type counts as empty.
local longest = 172800000
local count = redis.pcall('ZCOUNT', KEYS[2], now, now + longest)
local shared = redis.pcall('GET', KEYS[1]) == 'ready'
return {type(count) == 'number' and count or 0, shared and 1 or 0}
