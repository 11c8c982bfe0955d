-- Records one heartbeat of one instance, atomically, by the clock of this Redis.
-- KEYS  1 the shared key  2 ready instances (zset: id -> deadline in ms)  3 all instances (likewise)  4 this instance (hash)
-- ARGV  1 id  2 token  3 sequence  4 READY, NOT_READY, UNKNOWN or STOPPED  5 ttl in ms  6 payload  7 take over: 1 or 0
--       8 channel  9 latest time at which it is applied in ms, 0: any
-- Returns {code, ready instances, now in ms}; code 1 applied, 0 older than the recorded heartbeat, -1 the id belongs to another instance, -2 too late.
local id, token, sequence, state = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local ttl, payload, take, latest = tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1', tonumber(ARGV[9])
local value, tombstone = 'ready', 60000
-- The longest time to live is a day; another day is for servers whose clocks differ. No instance of portcullis sets a later deadline.
local longest = 172800000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Other clients of this Redis may have written anything: a key of ours that has another type is removed and created again.
local function sound(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...)
end
-- What frees memory comes first: then a Redis that is out of memory still accepts the rest.
for _, set in ipairs({KEYS[2], KEYS[3]}) do
  sound('ZREMRANGEBYSCORE', set, '-inf', '(' .. now)
  redis.call('ZREMRANGEBYSCORE', set, '(' .. now + longest, '+inf')
end

local function answer(code) return {code, redis.call('ZCOUNT', KEYS[2], now, '+inf'), now} end
-- Rounded, because a score may be a fraction and an expiry may not.
local function last(set)
  local top = redis.call('ZREVRANGE', set, 0, 0, 'WITHSCORES')
  return top[2] and math.ceil(tonumber(top[2]))
end

if take and state == 'READY' then return redis.error_reply('ERR a heartbeat that takes over an id cannot report ready') end
if state == 'READY' and latest > 0 and now > latest then return answer(-2) end
local before = sound('HMGET', KEYS[4], 't', 'q', 's')
if before[1] and before[1] ~= token and not take then return answer(-1) end
if before[1] == token and (tonumber(before[2]) or 0) >= sequence then return answer(0) end

if state == 'READY' then
  redis.call('ZADD', KEYS[2], now + ttl, id)
else
  redis.call('ZREM', KEYS[2], id)
end
if state == 'STOPPED' then redis.call('ZREM', KEYS[3], id) end

-- The shared key lasts as long as the last ready instance; it is deleted only if no ready instance is left and its value is ours.
local deadline = last(KEYS[2])
local shared = redis.pcall('GET', KEYS[1])
if deadline then
  if state == 'READY' or not shared or shared == value then
    redis.call('SET', KEYS[1], value, 'PX', math.max(1, deadline - now))
    redis.call('PEXPIREAT', KEYS[1], deadline)
  end
  redis.call('PEXPIREAT', KEYS[2], deadline)
elseif shared == value then
  redis.call('DEL', KEYS[1])
end

-- A stopped instance leaves its record for a while, so that a delayed heartbeat cannot restore it.
local life = tombstone
if state ~= 'STOPPED' then
  life = ttl
  redis.call('ZADD', KEYS[3], now + ttl, id)
end
redis.call('HSET', KEYS[4], 't', token, 'q', sequence, 's', state, 'p', payload)
redis.call('PEXPIRE', KEYS[4], life)
local every = last(KEYS[3])
if every then redis.call('PEXPIREAT', KEYS[3], every) end

-- A hint for subscribers; a channel that is not permitted must not fail the heartbeat.
if before[3] ~= state then
  local from = before[3] and #before[3] <= 16 and before[3] or cjson.null
  local event = {id = id, from = from, to = state, ready = redis.call('ZCOUNT', KEYS[2], now, '+inf'), at = now}
  redis.pcall('PUBLISH', ARGV[8], cjson.encode(event))
end
return answer(1)
