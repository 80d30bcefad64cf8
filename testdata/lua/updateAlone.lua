local limit, publish, database, wait = 0, 'PUBLISH', '', false
local absent, fields = false, redis.call('HMGET', KEYS[1], 'version', 'expires_at', 'ops')

local version, was, expires, expected, next = fields[1], fields[2] or '', ARGV[3], ARGV[6], ARGV[7]
local wait = redis.error_reply('TRYAGAIN the indexes are needed')
if not version then
  if expected and expected ~= '0' and redis.call('EXISTS', KEYS[1]) == 0 then return {'conflict', '0'} end
  return wait
end
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local at = tonumber(was)
if was ~= '' and (not at or at <= ms) then return wait end
if not string.find(version, '^[1-9]%d*$') or #version > 19 then return wait end
if expected then
  if version ~= expected then return {'conflict', version} end
  if next == '' then return {'overflow', version} end
elseif #version < 16 then
  next = string.format('%.0f', version + 1)
else
  return wait
end
if was ~= expires then return wait end
redis.call('HSET', KEYS[1], 'version', next, 'data', ARGV[2], 'ops', ARGV[1] .. string.sub(fields[3] or '', 1, 56))
if publish then
  local hint = next .. ' ' .. ARGV[4]
  local sent = redis.pcall(publish, ARGV[5] .. database, hint)
  if publish == 'SPUBLISH' and type(sent) == 'table' then redis.pcall('PUBLISH', ARGV[5] .. database, hint) end
end
return next
