package taskstore

// luaStore writes the record as version next and keeps the two indexes exact. Only a write
// that creates the record or changes its expiry touches them. A write with a past expiry
// leaves no record. A live record that is missing from the index, as after an eviction,
// is entered again.
//
// Most creates take a shorter path. An expiring record that is new to both indexes can
// only raise their TTL: it cannot lower or remove it. One create in eight, chosen by the
// operation id, trims past members; so does a create that meets the limit. The first
// write is the only use of the expiry index without a read of it before.
const luaStore = `
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
` + luaLatest + `
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
` + luaLatest + `
      if last then stamp = last + 1 end
      members = members + redis.call('ZADD', index, stamp, task)
      if expired then redis.call('DEL', record) end
    end
` + luaEnter + `
  end
end
local trim = quick and not settle and string.byte(op) % 8 == 0
if trim then members, expiring = 0, 1 end
if settle or trim then
` + luaTrim + `
end
if settle then
` + luaEnds + `
end
`

// luaLatest finds the latest score of the index if that is not before now, as after a step
// of the clock. Mostly there is no such score, and counting from now on takes the server
// half the time of reading the last member.
const luaLatest = `
last = redis.call('ZCOUNT', index, stamp, '+inf') > 0 and tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
`

// luaEnter writes a record that is in the index, and its expiry.
const luaEnter = `
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
`

// luaSettle trims expired members, oldest first and at most 64 in one call, and gives both
// indexes the TTL that lets them expire with their last member: that of its record while
// all members expire, otherwise no TTL.
//
//	members, expiring  how many members index and expiry have
//	temporary          all members expired before this call: there is a TTL
const luaSettle = luaTrim + luaEnds

const luaTrim = `
  if expiring > 0 then
    local dead = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', ms), 'LIMIT', 0, 64)
    if #dead > 0 then
      members = members - redis.call('ZREM', index, unpack(dead))
      expiring = expiring - redis.call('ZREM', expiry, unpack(dead))
    end
  end
`

const luaEnds = `
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
`
