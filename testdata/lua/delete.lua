local limit, publish, database, wait = 0, 'PUBLISH', '', false
local record, index, expiry, task = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if ARGV[2] then
  local born = redis.call('ZSCORE', index, task)
  if not born or tonumber(born) >= tonumber(ARGV[2]) then return {'unknown', '0'} end
end
local was = redis.pcall('HGET', record, 'expires_at')
if type(was) == 'table' then
  if not string.find(was.err, 'WRONGTYPE') then redis.call('HGET', record, 'expires_at') end
  was = false
end
local there = redis.call('EXISTS', record) == 1
local members, expiring = redis.pcall('ZCARD', index), redis.pcall('ZCARD', expiry)
local damage = type(members) == 'table' and members or type(expiring) == 'table' and expiring
if damage and not string.find(damage.err, 'WRONGTYPE') then redis.call('ZCARD', index) end
local temporary = members == expiring
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
if there then redis.call('DEL', record) end
if damage then
  redis.pcall('ZREM', index, task)
  redis.pcall('ZREM', expiry, task)
else
  members = members - redis.call('ZREM', index, task)
  expiring = expiring - redis.call('ZREM', expiry, task)

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
      redis.call('DEL', index, expiry)
    elseif last then
      redis.call('PEXPIREAT', index, last + 1000)
      redis.call('PEXPIREAT', expiry, last + 1000)
    end
  elseif temporary then
    redis.call('PERSIST', index)
    redis.call('PERSIST', expiry)
  end

end
if not there or (tonumber(was or '') or ms) < ms then return '0' end
local hint = '0'

if publish then
  local sent = redis.pcall(publish, KEYS[2] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[2] .. database, hint .. ' ' .. task)
  end
end

return '1'
