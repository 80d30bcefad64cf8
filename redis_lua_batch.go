package taskstore

import "strings"

// luaBatch makes several writes of one owner, or not one of them. It first reads and checks
// all of them in their order. Then it writes: first the records that are stored, since
// Redis refuses such a write when it is out of memory, but accepts any other after the
// first write of a script; then the removals, and the indexes of each collection.
//
//	KEYS  of each write: 1 record, 2 index, 3 expiry index
//	ARGV  1 operation id, then of each write: 1 data, 2 expires_at in ms or '', 3 task,
//	      4 expected version, '' for any, 5 limit of records
//	reply <number of writes>, or as luaPutIfVersion for the first write that is refused,
//	      and then the number of that write, from 1
var luaBatch = luaBatchBegin + luaBatchWrite + luaBatchCheck + luaBatchEnd

// luaBatchAgain resends a batch. If it was applied, it succeeds: all records that it
// stored got its operation id, and it is enough that one still has it. Otherwise each
// write is treated as a single resent one.
//
//	ARGV  as luaBatch, and then an instant before the first copy was sent, in µs
//	reply as luaBatch, and unknown <present version>
var luaBatchAgain = luaBatchBegin + `
local sent = ARGV[#ARGV]
for nth = 1, n do
  local record = KEYS[3 * nth - 2]
  local ops = redis.pcall('HGET', record, 'ops')
  if type(ops) == 'string' then
` + luaRecall + `
    if place then return string.format('%.0f', n) end
  end
end
` + luaBatchWrite + `
  if expected ~= '' then
    local born = redis.pcall('ZSCORE', index, task)
    damage = type(born) == 'table' and born.err
` + luaBatchDamage("redis.call('ZSCORE', index, task)") + luaSure + `
  end
` + luaBatchCheck + luaBatchEnd

// luaBatchBegin prepares:
//
//	writes  the results of the checks, for each write
//	scopes  the latest of the collections whose indexes are to change
//	goes    some write removes its record
//	fresh   each write creates a record that expires, and all of these are absent
//
// It also prepares a table for each of these collections. These tables, and writes, have
// their full size from the start, since growing a table costs the server time:
//
//	before              the next of the collections
//	at                  the place of the expiry index in KEYS
//	members, expiring   how many members the indexes have, before the batch; expiring is
//	                    true if only the first write of the script finds it out, by
//	                    its own type check: then there may be a TTL
//	live                how many records there are; including past ones, until they are
//	                    counted
//	last                the latest score of the index if that is not before now, false if it
//	                    is; true: it is not known yet
//	counted             live excludes past records
//	settle              the indexes need luaSettle: some write is not an expiring create
//	till                the latest instant at which a TTL of these ends
const luaBatchBegin = `
local op, n = ARGV[1], #KEYS / 3
` + luaTime + `
local writes, scopes, goes = {false, false, false, false}, false, false
local fresh, records = true, {}
for nth = 1, n do
  fresh = fresh and (ARGV[5 * nth] == '0' or ARGV[5 * nth] == '') and ARGV[5 * nth - 2] ~= ''
  records[nth] = KEYS[3 * nth - 2]
end
fresh = fresh and redis.call('EXISTS', unpack(records)) == 0
`

// luaBatchWrite begins the loop of checks. It finds the state of a record.
var luaBatchWrite = `
for nth = 1, n do
  local record, index, expiry = KEYS[3 * nth - 2], KEYS[3 * nth - 1], KEYS[3 * nth]
  local at = 5 * nth - 4
  local expires, task, expected, next = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local absent, damage = fresh or expected == '0' and redis.call('EXISTS', record) == 0
  local version, was, ops, expired = false, '', '', false
  if not absent then
    local fields = redis.pcall('HMGET', record, 'version', 'expires_at', 'ops')
    damage = fields.err
` + luaBatchDamage("redis.call('HMGET', record, 'version')") + luaState + `
  end
`

// luaBatchDamage refuses a write that meets a value of another type. Where the batch is fresh
// and the expiry index of the first write, which is not known yet, has another type too, it
// refuses the first write. again repeats the call that failed with another error; the error
// then stops the script.
func luaBatchDamage(again string) string {
	return `
    if damage then
      if not string.find(damage, 'WRONGTYPE') then ` + again + ` end
      if fresh and type(redis.pcall('ZCARD', KEYS[3])) == 'table' then nth = 1 end
      return {'corrupt', 'a key of the record or its indexes holds a value of another type', nth}
    end
`
}

// luaBatchCheck ends the loop of checks.
var luaBatchCheck = `
  if expected ~= '' and (version or '0') ~= expected then
    return {'conflict', version or '0', nth}
  end
` + luaSuccessor + `
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
` + luaBatchDamage("redis.call('ZCARD', index)") + `
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
` + luaBatchDamage("redis.call('ZCARD', KEYS[3])") + `
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
` + luaLatest + `
      end
      if last then score = last + 1 end
      scope.last = last and score or us
    end
    if gone or version or expired or not ends then scope.settle = true end
  end
  writes[nth] = {version, ops, next, scope, score, gone, expired}
end
`

// luaBatchEnd writes the records and the indexes.
var luaBatchEnd = `
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
` + luaEnter + `
    else
      local new, till = redis.pcall('ZADD', expiry, expires, task), string.format('%.0f', expires + 1000)
      local damage = type(new) == 'table' and new.err
` + luaBatchDamage("redis.call('ZADD', expiry, expires, task)") + `
      new = new + redis.call('ZADD', index, score, task)
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', op, 'expires_at', expires)
      redis.call('PEXPIREAT', record, till)
      if new < 2 then scope.settle = true end
      if not scope.till or tonumber(till) > tonumber(scope.till) then scope.till = till end
    end
` + luaBatchHint + `
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
` + luaBatchHint + `
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
` + luaTrim + `
  end
  if settle then
` + luaEnds + `
  end
  scope = scope.before
end
return string.format('%.0f', n)`

// luaBatchHint is luaHint for the nth write of a batch.
var luaBatchHint = strings.ReplaceAll(luaHint, "KEYS[2]", "KEYS[3 * nth - 1]")
