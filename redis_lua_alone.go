package taskstore

// While a slot is moved key by key, a script that names keys of which some have moved
// gets TRYAGAIN from both nodes, from the first to the last of them. All keys of an
// owner are in one slot, so that is every write of that owner. But an update that keeps
// the expiry touches the record alone: it is sent again with that key alone, to the node
// that has it.

// luaUpdateAlone is the update of luaPut, and of luaPutIfVersion where a version is
// expected. What needs the indexes says TRYAGAIN, as the server does.
//
//	KEYS  1 record
//	ARGV  1-4 as luaPut, 5 channel, 6 expected version and 7 its successor, or nothing
//	reply as luaPut and luaPutIfVersion
const luaUpdateAlone = luaFields + `
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
return next`
