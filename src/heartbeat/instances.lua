-- Lists the instances, by the clock of this Redis; writes nothing, and needs no permission that a heartbeat does not need.
-- KEYS  1 ready instances  2 all instances (zsets: id -> deadline in ms)
-- ARGV  1 the key of an instance's hash, without its id  2 how many to list  3 the longest id  4 the longest payload in bytes
-- Returns {now in ms, all, ready, id, deadline in ms, state, payload, ...}, the ones with the earliest deadlines first
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- As in beat.lua: no instance sets a later deadline, and a key of another type counts as empty.
local longest = 172800000
local function counted(set)
  local count = redis.pcall('ZCOUNT', set, now, now + longest)
  return type(count) == 'number' and count or 0
end
local answer = {now, counted(KEYS[2]), counted(KEYS[1])}
local oldest = redis.pcall('ZREVRANGE', KEYS[2], -ARGV[2], -1, 'WITHSCORES')
for place = 1, #oldest, 2 do
  local id, deadline = oldest[place], tonumber(oldest[place + 1])
  if deadline >= now and deadline <= now + longest and #id <= tonumber(ARGV[3]) then
    -- A key that is not a hash has no record; the other instances are listed all the same.
    local record = redis.pcall('HMGET', ARGV[1] .. id, 's', 'p')
    local state, payload = record[1] or '', record[2] or ''
    if #payload > tonumber(ARGV[4]) then payload = '' end
    for _, part in ipairs({id, deadline, string.sub(state, 1, 16), payload}) do answer[#answer + 1] = part end
  end
end
return answer
