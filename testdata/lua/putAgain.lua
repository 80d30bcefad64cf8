local limit, publish, database, wait = 0, 'PUBLISH', '', false
local absent, fields = false, redis.call('HMGET', KEYS[1], 'version', 'expires_at', 'ops')

local record, index, expiry = KEYS[1], KEYS[2], KEYS[3]
local op, data, expires, task, nth = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local t = redis.call('TIME')
local us, stamp = t[1] * 1000000 + t[2], t[1] .. string.sub('00000' .. t[2], -6)
local ms = math.floor(us / 1000)

local version, was, ops, expired = false, '', '', false

version, was, ops = fields[1], fields[2] or '', fields[3] or ''
if was ~= '' then
  local at = tonumber(was)
  if not at then return {'corrupt', 'expires_at is not a number', nth} end
  if at < ms then expired, version, ops = true, false, '' end
end
if version then
  if not string.find(version, '^[1-9]%d*$') or #version > 19 then
    return {'corrupt', 'version is not a number', nth}
  end
elseif not absent and not expired and redis.call('EXISTS', record) == 1 then
  return {'corrupt', 'version is missing', nth}
end

limit = tonumber(ARGV[5])

local place
for i = 1, #ops, 8 do
  if string.sub(ops, i, i + 7) == op then place = (i + 7) / 8 break end
end
if place and wait then redis.call('HSET', record, 'ops', ops) end

if place then
  if #version < 16 then return string.format('%.0f', version - place + 1) end
  if place == 1 then return version end
  return {'unknown', version}
end

local next

if not version then
  next = '1'
elseif #version < 16 then
  next = string.format('%.0f', version + 1)
elseif #version == 19 and version >= '9223372036854775807' then
  return {'overflow', version, nth}
else
  local high, low = tonumber(string.sub(version, 1, -9)), tonumber(string.sub(version, -8)) + 1
  if low == 100000000 then high, low = high + 1, 0 end
  next = string.format('%.0f%08.0f', high, low)
end

local hint, settle = next, true
local ends, last, quick = tonumber(expires)
local members, expiring, temporary
if version and was == expires and (was == '' or ends > ms) then
  redis.call('HSET', record, 'version', next, 'data', data, 'ops', op .. string.sub(ops, 1, 56))
  settle = false
elseif absent and ends and ends > ms then
  members = redis.call('ZCARD', index)
  quick = (limit == 0 or members < limit) and (members > 0 or redis.call('ZCARD', expiry) == 0)
end
if quick then

last = redis.call('ZCOUNT', index, stamp, '+inf') > 0 and tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])

  if last then stamp = last + 1 end
  local new = redis.call('ZADD', expiry, expires, task)
  local at = string.format('%.0f', ends + 1000)
  new = new + redis.call('ZADD', index, stamp, task)
  redis.call('HSET', record, 'version', next, 'data', data, 'ops', op, 'expires_at', expires)
  redis.call('PEXPIREAT', record, at)
  if new == 2 and members == 0 then
    redis.call('PEXPIREAT', index, at)
    redis.call('PEXPIREAT', expiry, at)
    settle = false
  elseif new == 2 and type(redis.pcall('PEXPIREAT', index, at, 'GT')) ~= 'table' then
    redis.call('PEXPIREAT', expiry, at, 'GT')
    settle = false
  else -- an index had the task, or the server is older than Redis 7.0
    members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry) -- changed
    temporary = members == expiring
  end
elseif settle then
  members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry)
  temporary = members == expiring
  if ends and ends <= ms then
    hint = '0'
    redis.call('DEL', record)
    members = members - redis.call('ZREM', index, task)
    expiring = expiring - redis.call('ZREM', expiry, task)
  else
    if not version and limit > 0 and members >= limit then
      local live = members - redis.call('ZCOUNT', expiry, '-inf', string.format('(%.0f', ms))
      if live >= limit then return {'full', string.format('%.0f', live)} end
    end
    if not version or not redis.call('ZSCORE', index, task) then

last = redis.call('ZCOUNT', index, stamp, '+inf') > 0 and tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])

      if last then stamp = last + 1 end
      members = members + redis.call('ZADD', index, stamp, task)
      if expired then redis.call('DEL', record) end
    end

    ops = op .. string.sub(ops, 1, 56)
    if expires ~= '' then
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', ops, 'expires_at', expires)
      redis.call('PEXPIREAT', record, expires + 1000)
      expiring = expiring + redis.call('ZADD', expiry, expires, task)
    else
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', ops)
      if version then
        redis.call('HDEL', record, 'expires_at')
        redis.call('PERSIST', record)
      end
      if expiring > 0 then expiring = expiring - redis.call('ZREM', expiry, task) end
    end

  end
end
local trim = quick and not settle and string.byte(op) % 8 == 0
if trim then members, expiring = 0, 1 end
if settle or trim then

  if expiring > 0 then
    local dead = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', ms), 'LIMIT', 0, 64)
    if #dead > 0 then
      members = members - redis.call('ZREM', index, unpack(dead))
      expiring = expiring - redis.call('ZREM', expiry, unpack(dead))
    end
  end

end
if settle then

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

if publish then
  local sent = redis.pcall(publish, KEYS[2] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[2] .. database, hint .. ' ' .. task)
  end
end

return next
