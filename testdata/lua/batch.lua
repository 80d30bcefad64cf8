local limit, publish, database, wait = 0, 'PUBLISH', '', false
local op, n = ARGV[1], #KEYS / 3

local t = redis.call('TIME')
local us, stamp = t[1] * 1000000 + t[2], t[1] .. string.sub('00000' .. t[2], -6)
local ms = math.floor(us / 1000)

local writes, scopes, goes = {false, false, false, false}, false, false
local fresh, records = true, {}
for nth = 1, n do
  fresh = fresh and (ARGV[5 * nth] == '0' or ARGV[5 * nth] == '') and ARGV[5 * nth - 2] ~= ''
  records[nth] = KEYS[3 * nth - 2]
end
fresh = fresh and redis.call('EXISTS', unpack(records)) == 0

for nth = 1, n do
  local record, index, expiry = KEYS[3 * nth - 2], KEYS[3 * nth - 1], KEYS[3 * nth]
  local at = 5 * nth - 4
  local expires, task, expected, next = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local absent, damage = fresh or expected == '0' and redis.call('EXISTS', record) == 0
  local version, was, ops, expired = false, '', '', false
  if not absent then
    local fields = redis.pcall('HMGET', record, 'version', 'expires_at', 'ops')
    damage = fields.err

    if damage then
      if not string.find(damage, 'WRONGTYPE') then redis.call('HMGET', record, 'version') end
      if fresh and type(redis.pcall('ZCARD', KEYS[3])) == 'table' then nth = 1 end
      return {'corrupt', 'a key of the record or its indexes holds a value of another type', nth}
    end

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

  end

  if expected ~= '' and (version or '0') ~= expected then
    return {'conflict', version or '0', nth}
  end

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

  local ends = tonumber(expires)
  local gone, scope, score = ends and ends <= ms
  if not version or was ~= expires or gone then
    scope = scopes
    while scope and KEYS[scope.at - 1] ~= index do scope = scope.before end
    if not scope then
      local members, expiring = redis.pcall('ZCARD', index), true
      damage = type(members) == 'table' and members.err
      if not damage and (nth > 1 or not fresh or gone or members == 0) then
        expiring = redis.pcall('ZCARD', expiry)
        damage = type(expiring) == 'table' and expiring.err
      end

    if damage then
      if not string.find(damage, 'WRONGTYPE') then redis.call('ZCARD', index) end
      if fresh and type(redis.pcall('ZCARD', KEYS[3])) == 'table' then nth = 1 end
      return {'corrupt', 'a key of the record or its indexes holds a value of another type', nth}
    end

      scope = {before = scopes, at = 3 * nth, members = members, expiring = expiring, live = members,
        last = members > 0, counted = false, settle = false, till = false}
      scopes = scope
    end
    if gone then
      goes = true
      if version then scope.live = scope.live - 1 end
    elseif not version then
      local limit, live = tonumber(ARGV[at + 5]), scope.live
      if limit > 0 and live >= limit then
        if not scope.counted then
          if fresh then
            damage = redis.pcall('ZCARD', KEYS[3])
            damage = type(damage) == 'table' and damage.err

    if damage then
      if not string.find(damage, 'WRONGTYPE') then redis.call('ZCARD', KEYS[3]) end
      if fresh and type(redis.pcall('ZCARD', KEYS[3])) == 'table' then nth = 1 end
      return {'corrupt', 'a key of the record or its indexes holds a value of another type', nth}
    end

          end
          live = live - redis.call('ZCOUNT', expiry, '-inf', string.format('(%.0f', ms))
          scope.counted, scope.settle = true, true
        end
        if live >= limit then return {'full', string.format('%.0f', live), nth} end
      end
      scope.live, score = live + 1, stamp
    elseif not redis.call('ZSCORE', index, task) then
      score = stamp
    end
    if score then
      local last = scope.last
      if last == true then

last = redis.call('ZCOUNT', index, stamp, '+inf') > 0 and tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])

      end
      if last then score = last + 1 end
      scope.last = last and score or us
    end
    if gone or version or expired or not ends then scope.settle = true end
  end
  writes[nth] = {version, ops, next, scope, score, gone, expired}
end

for nth = 1, n do
  local version, ops, next, scope, score, gone, expired = unpack(writes[nth], 1, 7)
  if not gone then
    local record, index, expiry = KEYS[3 * nth - 2], KEYS[3 * nth - 1], KEYS[3 * nth]
    local at = 5 * nth - 4
    local data, expires, task, hint = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], next
    if not scope then
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', op .. string.sub(ops, 1, 56))
    elseif version or expired or expires == '' then
      local expiring = scope.expiring
      if score then redis.call('ZADD', index, score, task) end
      if expired then
        redis.call('DEL', record) -- changed
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

    else
      local new, till = redis.pcall('ZADD', expiry, expires, task), string.format('%.0f', expires + 1000)
      local damage = type(new) == 'table' and new.err

    if damage then
      if not string.find(damage, 'WRONGTYPE') then redis.call('ZADD', expiry, expires, task) end
      if fresh and type(redis.pcall('ZCARD', KEYS[3])) == 'table' then nth = 1 end
      return {'corrupt', 'a key of the record or its indexes holds a value of another type', nth}
    end

      new = new + redis.call('ZADD', index, score, task)
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', op, 'expires_at', expires)
      redis.call('PEXPIREAT', record, till)
      if new < 2 then scope.settle = true end
      if not scope.till or tonumber(till) > tonumber(scope.till) then scope.till = till end
    end

if publish then
  local sent = redis.pcall(publish, KEYS[3 * nth - 1] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[3 * nth - 1] .. database, hint .. ' ' .. task)
  end
end

  end
end
if goes then
  for nth = 1, n do
    if writes[nth][6] then
      local record, index, expiry = KEYS[3 * nth - 2], KEYS[3 * nth - 1], KEYS[3 * nth]
      local task, hint = ARGV[5 * nth - 1], '0'
      redis.call('DEL', record) -- changed
      redis.call('ZREM', index, task)
      redis.call('ZREM', expiry, task)

if publish then
  local sent = redis.pcall(publish, KEYS[3 * nth - 1] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[3 * nth - 1] .. database, hint .. ' ' .. task)
  end
end

    end
  end
end
local scope = scopes
while scope do
  local index, expiry, settle = KEYS[scope.at - 1], KEYS[scope.at], scope.settle
  local temporary, members, expiring = scope.expiring == true or scope.members == scope.expiring, 0, 1
  if temporary and not settle then
    if scope.members == 0 then
      redis.call('PEXPIREAT', index, scope.till)
      redis.call('PEXPIREAT', expiry, scope.till)
    elseif type(redis.pcall('PEXPIREAT', index, scope.till, 'GT')) ~= 'table' then
      redis.call('PEXPIREAT', expiry, scope.till, 'GT')
    else -- the server is older than Redis 7.0
      settle = true
    end
  end
  if settle then
    members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry) -- changed
  end
  if settle or string.byte(op) % 8 == 0 then

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
  scope = scope.before
end
return string.format('%.0f', n)
