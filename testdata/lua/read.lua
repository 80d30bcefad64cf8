local limit, publish, database, wait = 0, 'PUBLISH', '', false
local t = redis.call('TIME')
local reply = {string.format('%.0f', t[1] * 1000000 + t[2])}
local room, most = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 2, #KEYS do
  local length = redis.pcall('HSTRLEN', KEYS[i], 'data')
  if type(length) == 'table' then
    if not string.find(length.err, 'WRONGTYPE') then return length end
    reply[i] = 'WRONGTYPE'
  elseif most > 0 and (length <= room or i == 2) then
    reply[i] = redis.call('HMGET', KEYS[i], 'version', 'data', 'expires_at')
    room, most = room - length, most - 1
  else
    reply[i], most = length, 0
  end
end
return reply
