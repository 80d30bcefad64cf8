package taskstore

// The scripts. Rules that all of them keep:
//
//   - A script touches only the keys in KEYS, and all of them have the owner's hash
//     tag: a script that is right on one server is right in a Cluster.
//   - All checks and reads that can fail come before the first write, and the
//     first write of a put is one that Redis refuses when it is out of memory,
//     read-only or short of replicas. So a script is applied whole or not at all.
//   - A record is past when TIME, the server's clock, is past its expires_at. TTLs
//     only reclaim memory. They end a second later, since servers delete at different
//     times: Redis 8 in the very millisecond, and a slot that moves carries the rest of
//     a TTL to a clock that may be behind. Inside a script the server also compares TTLs
//     with the moment the script began, while TIME goes on. So a past record may still
//     exist: a write deletes it first.
//   - Versions and instants pass through as decimal strings. Lua's numbers are
//     doubles and its tostring rounds to 14 digits; a number that must become text
//     goes through string.format('%.0f'), or to redis.call, which keeps 17 digits.
//   - Each replies with a decimal number, as text, or with a status and a value if it
//     refused. See redislink.Reply.
//
// A script is a sequence of fragments instead of functions, as the server would make a
// closure anew at every call. The settings of a backend, its limit and the command for
// its hints, are written into the source: every argument of a script costs the server a
// tenth of a microsecond.
//
// The fast path is an update that keeps the expiry: two commands and the hint, and TIME if
// there is an expiry. A caller that wants to create adds the limit and takes the slow
// path.

// luaFields reads the record. absent says that the record certainly does not exist, if
// that is known without reading it.
const luaFields = `
local absent, fields = false, redis.call('HMGET', KEYS[1], 'version', 'expires_at', 'ops')
`

// luaFieldsExpected is luaFields of a put if version: a create mostly finds no record.
const luaFieldsExpected = `
local absent = ARGV[5] == '0' and redis.call('EXISTS', KEYS[1]) == 0
local fields = absent and {} or redis.call('HMGET', KEYS[1], 'version', 'expires_at', 'ops')
`

// luaKeeps tells whether the write takes the fast path: it keeps the record's expiry, which
// is in the future or absent. A call may have been under way for any time, so the client
// cannot tell.
const luaKeeps = `
local keeps = (fields[2] or '') == ARGV[3]
if keeps and ARGV[3] ~= '' then
  local t = redis.call('TIME')
  keeps = t[1] * 1000 + t[2] / 1000 < tonumber(ARGV[3])
end
`

// luaSlowPath begins the slow path. It finds the state of the record:
//
//	version  the present version, false if the record does not exist
//	was      its expires_at, '' for no expiry
//	expired  its key exists, but its time is over
//	us, ms   TIME in micro- and milliseconds
const luaSlowPath = `
local record, index, expiry = KEYS[1], KEYS[2], KEYS[3]
local op, data, expires, task, nth = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
` + luaTime + `
local version, was, ops, expired = false, '', '', false
` + luaState

// luaTime reads the clock. stamp is us as text, which is faster for the server than a
// number.
const luaTime = `
local t = redis.call('TIME')
local us, stamp = t[1] * 1000000 + t[2], t[1] .. string.sub('00000' .. t[2], -6)
local ms = math.floor(us / 1000)
`

// luaState is the part of luaSlowPath that each write of a batch has too. nth is the number
// of the write in the batch, and nil for a single write.
const luaState = `
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
`

// luaPut writes a record whether or not it exists. Beyond 15 digits it counts
// versions in two halves, each of which a double holds exactly.
//
//	KEYS  1 record, 2 index, 3 expiry index
//	ARGV  1 operation id (8 bytes), 2 data, 3 expires_at in ms or '', 4 task,
//	      5 limit of records: if given, the slow path is taken
//	reply <version>, full <live records>, overflow <version>, corrupt <what>
const luaPut = luaFields + luaKeeps + `
if keeps and not ARGV[5] and fields[1] and #fields[1] < 16
    and string.find(fields[1], '^[1-9]%d*$') then
  local next = string.format('%.0f', fields[1] + 1)
  redis.call('HSET', KEYS[1], 'version', next, 'data', ARGV[2], 'ops', ARGV[1] .. string.sub(fields[3] or '', 1, 56))
  local hint, task = next, ARGV[4]
` + luaHint + `
  return next
end
` + luaSlowPath + `
limit = tonumber(ARGV[5]) or limit
` + luaPutAny

// luaPutAny is the slow path of a put.
const luaPutAny = `
local next
` + luaSuccessor + luaStore + luaHint + `
return next`

// luaSuccessor computes the version that a put makes.
const luaSuccessor = `
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
`

// luaPutIfVersion writes a record if its version is the expected one; a record
// that does not exist has version 0.
//
//	KEYS  as luaPut
//	ARGV  1-4 as luaPut, 5 expected version, 6 its successor or '', 7 limit of
//	      records: if given, the slow path is taken; needed if 5 is 0 or 6 is ''
//	reply as luaPut, and conflict <present version>
const luaPutIfVersion = luaFieldsExpected + luaKeeps + `
if keeps and not ARGV[7] and fields[1] == ARGV[5] then
  redis.call('HSET', KEYS[1], 'version', ARGV[6], 'data', ARGV[2], 'ops', ARGV[1] .. string.sub(fields[3] or '', 1, 56))
  local hint, task = ARGV[6], ARGV[4]
` + luaHint + `
  return hint
end
` + luaSlowPath + `
limit = tonumber(ARGV[7]) or limit
` + luaPutExpected

// luaPutExpected is the slow path of a put if version.
const luaPutExpected = `
local next = ARGV[6]
if (version or '0') ~= ARGV[5] then return {'conflict', version or '0'} end
if next == '' then return {'overflow', version} end
` + luaStore + luaHint + `
return next`

// luaDelete removes a record and its index entries. It is also the remedy for damage, so
// it removes a damaged record and a value of another type. An index of another type has
// no entry of the task, and is left as it is.
//
// A resent delete removes only a record that was there before the first copy was sent, so
// that it spares a successor. If the index has no entry, the script cannot tell whether
// it had one.
//
// The TTL of the indexes may be wrong only after the delete of the last expiring record,
// or of a permanent one. After any other delete it is left, and one delete in eight,
// by the clock, trims the indexes.
//
//	KEYS  as luaPut
//	ARGV  1 task, 2 of a resent one an instant before the first copy was sent, in µs
//	reply 1 if the record existed, 0 if not, unknown 0
const luaDelete = `
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
` + luaSettle + `
end
if not there or (ends or ms) < ms then return '0' end
local hint = '0'
` + luaHint + `
return '1'`

// luaHint publishes '<hint> <task>', hint being the version or 0, if the backend gives
// hints. The channel's name is that of the index, which saves an argument, followed by
// the database; channels and keys do not collide. A failed hint must not fail a write
// that is done, hence pcall. Servers before 7.0 do not know SPUBLISH.
const luaHint = `
if publish then
  local sent = redis.pcall(publish, KEYS[2] .. database, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', KEYS[2] .. database, hint .. ' ' .. task)
  end
end
`

// luaRecall begins the resent form of the scripts that write, for a write that was
// sent before without an answer. It finds out:
//
//	place   of the write's operation id among those of the record, 1 is the newest;
//	        nil if it is not there
//
// If replicas are to acknowledge, a write that is found is written once more, unchanged:
// WAIT covers only writes of its own connection.
const luaRecall = `
local place
for i = 1, #ops, 8 do
  if string.sub(ops, i, i + 7) == op then place = (i + 7) / 8 break end
end
if place and wait then redis.call('HSET', record, 'ops', ops) end
`

// luaPutAgain resends a put. If it was applied, the reply is the version that it made.
// Otherwise it is applied now: the last writer wins.
//
//	ARGV  1-5 as luaPut
//	reply as luaPut, and unknown <present version>
const luaPutAgain = luaFields + luaSlowPath + `
limit = tonumber(ARGV[5])
` + luaRecall + `
if place then
  if #version < 16 then return string.format('%.0f', version - place + 1) end
  if place == 1 then return version end
  return {'unknown', version}
end
` + luaPutAny

// luaPutIfVersionAgain resends a put if version. If it was applied, it succeeds. If it was
// certainly not applied, it is tried now. It is a conflict if that is certain:
//
//	expected 0   with a record that was there before the first copy was sent, by its
//	             place in the order of creation; any other may be a successor of
//	             the one that the write has made
//	otherwise    with such a record, beyond the expected version, if all writes since are
//	             among its operation ids
//
// With a record before the expected version the outcome is unknown: a first copy that is
// late may meet that version yet.
//
//	ARGV  1-7 as luaPutIfVersion, 8 an instant before the first copy was sent, in µs
//	reply as luaPutIfVersion, and unknown <present version>
const luaPutIfVersionAgain = luaFields + luaSlowPath + `
limit = tonumber(ARGV[7])
` + luaRecall + `
if place then return ARGV[6] end
local born, expected, sent = redis.call('ZSCORE', index, task), ARGV[5], ARGV[8]
` + luaSure + luaPutExpected

// luaSure lets a resent write that names a version go on if it was certainly not applied,
// by the rules of luaPutIfVersionAgain.
const luaSure = `
local before = born and tonumber(born) < tonumber(sent)
if version or expected ~= '0' then
  if not version or not before then return {'unknown', version or '0'} end
  if expected ~= '0' and version ~= expected then
    local since = version - expected
    if #version > 15 or since < 0 or since > #ops / 8 then return {'unknown', version} end
  end
end
`

// While a slot is moved key by key, a script that names several keys, of which some have
// moved, gets TRYAGAIN from both nodes, from the first key's move to the last's. All keys
// of an owner are in one slot, so this affects every write of that owner. But an update
// that keeps the expiry touches only the record: the client resends it with that key
// alone, to the node that has it.

// luaUpdateAlone is the fast path of luaPut, and of luaPutIfVersion if a version is
// expected. A write that needs the indexes gets TRYAGAIN, as from the server.
//
//	KEYS  1 record
//	ARGV  1-4 as luaPut, 5 channel, 6 expected version and 7 its successor, or neither
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
