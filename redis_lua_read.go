package taskstore

// luaRead reads the time and then records, so that the reader can tell which of them are
// past by that time: a record that is not past existed at that instant, or was written
// after it. It reads records up to a number of bytes of data, the first in any case, and
// returns the data lengths of the others.
//
//	KEYS  1 any key of the owner: it chooses the node of a Cluster, 2... records
//	ARGV  1 how many bytes, 2 how many records
//	reply Unix time in microseconds, then of each record {version, data, expires_at},
//	      or the length of its data, or 'WRONGTYPE'
const luaRead = `
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
return reply`

// luaClock returns the time of the server that has the key.
//
//	KEYS  1 any key: it only chooses the node of a Cluster
//	reply <Unix time in microseconds>
const luaClock = `
local t = redis.call('TIME')
return string.format('%.0f', t[1] * 1000000 + t[2])`

// luaRepair removes the index entries of tasks that have no live record. It looks
// again itself: a record that a reader missed may have been created since.
//
//	KEYS  1 index, 2 expiry index, 3... records
//	ARGV  1... the tasks of KEYS 3...
//	reply <how many were removed>
const luaRepair = `
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
` + luaSettle + `
return string.format('%.0f', #gone)`
