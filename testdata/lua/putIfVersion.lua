local limit, publish, database, wait = 0, 'PUBLISH', '', false
local absent = ARGV[5] == '0' and redis.call('EXISTS', KEYS[1]) == 0
local fields = absent and {} or redis.call('HMGET', KEYS[1], 'version', 'expires_at', 'ops')

local keeps = (fields[2] or '') == ARGV[3]
if keeps and ARGV[3] ~= '' then
  local t = redis.call('TIME')
  keeps = t[1] * 1000 + t[2] / 1000 < tonumber(ARGV[3])
end

if keeps and not ARGV[7] and fields[1] == ARGV[5] then
  redis.call('HSET', KEYS[1], 'version', ARGV[6], 'data', ARGV[2], 'ops', ARGV[1] .. string.sub(fields[3] or '', 1, 56))
  local hint, task = ARGV[6], ARGV[4]

if publish then
  local sent = redis.pcall(publish, KEYS[2] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[2] .. database, hint .. ' ' .. task)
  end
end

  return hint
end

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

limit = tonumber(ARGV[7]) or limit

local next = ARGV[6]
if (version or '0') ~= ARGV[5] then return {'conflict', version or '0'} end
if next == '' then return {'overflow', version} end

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
