local limit, publish, database, wait = 0, 'PUBLISH', '', false
local record, index, expiry, task = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if ARGV[2] then
  local born = redis.call('ZSCORE', index, task)
  if not born or tonumber(born) >= tonumber(ARGV[2]) then return {'unknown', '0'} end
end
local ends = redis.pcall('HGET', record, 'expires_at')
if type(ends) == 'table' then
  if not string.find(ends.err, 'WRONGTYPE') then redis.call('HGET', record, 'expires_at') end
  ends = false
end
ends = tonumber(ends or '')
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local there = redis.call('DEL', record) == 1
local left, over = redis.pcall('ZREM', index, task), redis.pcall('ZREM', expiry, task)
local damage = type(left) == 'table' and left or type(over) == 'table' and over
if damage and not string.find(damage.err, 'WRONGTYPE') then redis.call('ZREM', index, task) end
local last = not damage and tonumber(redis.call('ZRANGE', expiry, -1, -1, 'WITHSCORES')[2])
if last and (not ends or last < ends or t[2] % 8 == 0) then
  local members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry) -- changed
  local temporary = members + left == expiring + over

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

end
if not there or (ends or ms) < ms then return '0' end
local hint = '0'

if publish then
  local sent = redis.pcall(publish, KEYS[2] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[2] .. database, hint .. ' ' .. task)
  end
end

return '1'
