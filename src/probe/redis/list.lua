-- A page of the instances that report, by the clock of this Redis; it only reads.
-- KEYS  1 all instances (zset: id -> deadline in ms)
-- ARGV  1 the key of an instance's hash, without its id  2 how many to skip  3 how many to read  4 the longest id
--       5 the longest payload in bytes
-- Returns {how many were read, id, ms until the deadline, 1 when ready, payload, ...}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- As in beat.lua: no instance sets a later deadline, and a key of another type counts as empty.
local longest = 172800000
local page = redis.pcall('ZRANGE', KEYS[1], now, now + longest, 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3], 'WITHSCORES')
if page.err and not string.find(page.err, 'WRONGTYPE', 1, true) then return page end
local answer = {#page / 2}
for place = 1, #page, 2 do
  local id, deadline = page[place], tonumber(page[place + 1])
  if #id <= tonumber(ARGV[4]) then
    local record = redis.pcall('HMGET', ARGV[1] .. id, 's', 'p')
    local payload = record[2] or ''
    if #payload > tonumber(ARGV[5]) then payload = '' end
    for _, part in ipairs({id, deadline - now, record[1] == 'READY' and 1 or 0, payload}) do answer[#answer + 1] = part end
  end
end
return answer
