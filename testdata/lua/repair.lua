local limit, publish, database, wait = 0, 'PUBLISH', '', false
local index, expiry = KEYS[1], KEYS[2]
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry)
local temporary = members == expiring
local gone = {}
for i = 3, #KEYS do
  local was = redis.pcall('HGET', KEYS[i], 'expires_at')
  if type(was) == 'table' then was = false end
  if (tonumber(was or '') or ms) < ms or redis.call('EXISTS', KEYS[i]) == 0 then
    gone[#gone + 1] = i
  end
end
for _, i in ipairs(gone) do
  redis.call('DEL', KEYS[i])
  members = members - redis.call('ZREM', index, ARGV[i - 2])
  expiring = expiring - redis.call('ZREM', expiry, ARGV[i - 2])
end

  if expiring > 0 then
    local dead = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', ms), 'LIMIT', 0, 64)
    if #dead > 0 then
      members = members - redis.call('ZREM', index, unpack(dead))
      expiring = expiring - redis.call('ZREM', expiry, unpack(dead))
    end
  end

  if members == expiring then
    local last = tonumber(redis.call('ZRANGE', expiry, -1, -1, 'WITHSCORES')[2])
    if last and last < ms then
      redis.call('DEL', index, expiry) -- changed
    elseif last then
      redis.call('PEXPIREAT', index, last + 1000)
      redis.call('PEXPIREAT', expiry, last + 1000)
    end
  elseif temporary then
    redis.call('PERSIST', index)
    redis.call('PERSIST', expiry)
  end

return string.format('%.0f', #gone)
