-- How many instances are ready, by the clock of this Redis; it only reads.
-- KEYS  1 the shared key  2 ready instances (zset: id -> deadline in ms)
-- Returns {ready instances, 1 when the shared key says ready}: another producer of that key records no instances.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- As in the script of a beat: a later deadline is nobody's, and a key of another type says nothing.
local longest = 172800000
local count = redis.pcall('ZCOUNT', KEYS[2], now, now + longest)
local shared = redis.pcall('GET', KEYS[1]) == 'ready'
return {type(count) == 'number' and count or 0, shared and 1 or 0}
