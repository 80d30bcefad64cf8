package taskstore

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The scripts. Rules that all of them keep:
//
//   - A script touches the keys in KEYS and no other, and all of them have the
//     owner's hash tag: what is right on one server is right in a Cluster.
//   - All checks and reads that can fail come before the first write, and the
//     first write of a put is one that Redis refuses when it is out of memory,
//     read-only or short of replicas. So a script is applied whole or not at all.
//   - TIME is asked for where something depends on it. The server judges TTLs
//     inside a script by the moment the script began, while TIME goes on, and
//     somebody may have taken a TTL away: what TIME says is expired is deleted
//     before it is written over.
//   - Versions and instants pass through as decimal strings. Lua's numbers are
//     doubles and its tostring rounds to 14 digits; where a number must become
//     text it goes through string.format('%.0f').
//   - Each replies with two strings: a status and a value. See decodeReply.
//
// Each is composed of fragments that follow one another, not of functions: a
// closure would be made anew at every call.

// luaRead: KEYS 1 record, 2 index, 3 expiry index. Reads the record.
//
//	version  the present version, false if the record does not exist
//	was      its expires_at, '' for none
//	expired  it is still there, but its time is over
//	us, ms   TIME in micro- and milliseconds, where something may depend on it
const luaRead = `
local record, index, expiry = KEYS[1], KEYS[2], KEYS[3]
local op, data, expires, task, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local publish, channel = ARGV[6], ARGV[7]
local fields = redis.call('HMGET', record, 'version', 'expires_at', 'ops')
local version, was, ops = fields[1], fields[2] or '', fields[3] or ''
local us, ms
if was ~= '' or expires ~= '' or not version then
  local t = redis.call('TIME')
  us = t[1] * 1000000 + t[2]
  ms = math.floor(us / 1000)
end
local expired = false
if was ~= '' then
  local at = tonumber(was)
  if not at then return {'corrupt', 'expires_at is not a number'} end
  if at < ms then expired, version, ops = true, false, '' end
end
if not version and not expired and redis.call('EXISTS', record) == 1 then
  return {'corrupt', 'version is missing'}
end
`

// luaNextOfAny lets every put pass: next is the successor of any version. Beyond
// 15 digits it counts in two halves, each of which a double holds exactly.
const luaNextOfAny = `
local next
if not version then
  next = '1'
elseif not string.find(version, '^[1-9]%d*$') or #version > 19 then
  return {'corrupt', 'version is not a number'}
elseif #version < 16 then
  next = string.format('%.0f', version + 1)
elseif #version == 19 and version >= '9223372036854775807' then
  return {'overflow', version}
else
  local high, low = tonumber(string.sub(version, 1, -9)), tonumber(string.sub(version, -8)) + 1
  if low == 100000000 then high, low = high + 1, 0 end
  next = string.format('%.0f%08.0f', high, low)
end
`

// luaNextOfExpected lets a put pass whose expected version, ARGV 8, is the
// present one. The caller computed the successor, ARGV 9, ” if there is none.
const luaNextOfExpected = `
local next = ARGV[9]
if (version or '0') ~= ARGV[8] or version == '0' then
  if version and not string.find(version, '^[1-9]%d*$') then
    return {'corrupt', 'version is not a number'}
  end
  return {'conflict', version or '0'}
end
if next == '' then return {'overflow', version} end
`

// luaStore writes the record as version next and keeps the two indexes exact.
// Only a write that creates the record or changes its expiry touches them. An
// expiry that is past already leaves nothing behind; the server would delete at
// once what is given a TTL of now or earlier.
const luaStore = `
local hint = next
if version and was == expires then
  redis.call('HSET', record, 'version', next, 'data', data, 'ops', op .. string.sub(ops, 1, 56))
else
  local members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry)
  local temporary = members == expiring
  if not ms then
    local t = redis.call('TIME')
    us = t[1] * 1000000 + t[2]
    ms = math.floor(us / 1000)
  end
  if expires ~= '' and tonumber(expires) <= ms then
    hint = '0'
    redis.call('DEL', record)
    members = members - redis.call('ZREM', index, task)
    expiring = expiring - redis.call('ZREM', expiry, task)
  else
    if not version then
      if limit ~= '0' then
        local live = members - redis.call('ZCOUNT', expiry, '-inf', string.format('(%.0f', ms))
        if live >= tonumber(limit) then return {'full', string.format('%.0f', live)} end
      end
      local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2]
      if last and tonumber(last) >= us then us = last + 1 end
      members = members + redis.call('ZADD', index, us, task)
      if expired then redis.call('DEL', record) end
    end
    ops = op .. string.sub(ops, 1, 56)
    if expires ~= '' then
      redis.call('HSET', record, 'version', next, 'data', data, 'ops', ops, 'expires_at', expires)
      redis.call('PEXPIREAT', record, expires)
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
` + luaSettle + `
end
`

// luaSettle trims members that are expired, oldest first and not too many for
// one call, and gives both indexes the TTL that lets them die with their last
// member: that of the latest expiry while all members expire, none otherwise.
//
//	members, expiring  how many members index and expiry have
//	temporary          all members expired before this call: there is a TTL
const luaSettle = `
  if expiring > 0 then
    local dead = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', ms), 'LIMIT', 0, 64)
    if #dead > 0 then
      members = members - redis.call('ZREM', index, unpack(dead))
      expiring = expiring - redis.call('ZREM', expiry, unpack(dead))
    end
  end
  if members == expiring then
    local last = redis.call('ZRANGE', expiry, -1, -1, 'WITHSCORES')[2]
    if last then
      redis.call('PEXPIREAT', index, last)
      redis.call('PEXPIREAT', expiry, last)
    end
  elseif temporary then
    redis.call('PERSIST', index)
    redis.call('PERSIST', expiry)
  end
`

// luaHint publishes '<hint> <task>', hint being the version or 0. It must never
// fail a write that is done, hence pcall. Servers before 7.0 know no SPUBLISH.
const luaHint = `
if publish ~= '' then
  local sent = redis.pcall(publish, channel, hint .. ' ' .. task)
  if publish == 'SPUBLISH' and type(sent) == 'table' then
    redis.pcall('PUBLISH', channel, hint .. ' ' .. task)
  end
end
`

// putScript writes a record whether or not it exists.
//
//	KEYS  1 record, 2 index, 3 expiry index
//	ARGV  1 operation id (8 bytes), 2 data, 3 expires_at in ms or '', 4 task,
//	      5 most records of the owner or '0', 6 PUBLISH, SPUBLISH or '', 7 channel
//	reply ok <version>, full <live records>, overflow <version>, corrupt <what>
var putScript = newScript("put", luaRead+luaNextOfAny+luaStore+luaHint+`
return {'ok', next}`)

// putIfVersionScript writes a record if its version is the expected one; a
// record that does not exist has version 0.
//
//	KEYS  as putScript
//	ARGV  1-7 as putScript, 8 expected version, 9 its successor or ''
//	reply as putScript, and conflict <present version>
var putIfVersionScript = newScript("putIfVersion", luaRead+luaNextOfExpected+luaStore+luaHint+`
return {'ok', next}`)

// deleteScript removes a record, its index entries included. It also removes
// what is damaged: it is the remedy for that.
//
//	KEYS  as putScript
//	ARGV  1 task, 2 PUBLISH, SPUBLISH or '', 3 channel
//	reply ok 1 if the record existed, ok 0 if not
var deleteScript = newScript("delete", `
local record, index, expiry = KEYS[1], KEYS[2], KEYS[3]
local task, publish, channel = ARGV[1], ARGV[2], ARGV[3]
local was = redis.call('HGET', record, 'expires_at')
local there = redis.call('EXISTS', record) == 1
local members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry)
local temporary = members == expiring
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
if there then redis.call('DEL', record) end
members = members - redis.call('ZREM', index, task)
expiring = expiring - redis.call('ZREM', expiry, task)
`+luaSettle+`
if not there or (tonumber(was or '') or ms) < ms then return {'ok', '0'} end
local hint = '0'
`+luaHint+`
return {'ok', '1'}`)

// repairScript removes the index entries of tasks that have no live record. It
// looks again itself: what a reader saw missing may have been created since.
//
//	KEYS  1 index, 2 expiry index, 3... records
//	ARGV  1... the tasks of KEYS 3...
//	reply ok <how many were removed>
var repairScript = newScript("repair", `
local index, expiry = KEYS[1], KEYS[2]
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local members, expiring = redis.call('ZCARD', index), redis.call('ZCARD', expiry)
local temporary = members == expiring
local gone = {}
for i = 3, #KEYS do
  local was = redis.call('HGET', KEYS[i], 'expires_at')
  if (tonumber(was or '') or ms) < ms or redis.call('EXISTS', KEYS[i]) == 0 then
    gone[#gone + 1] = i
  end
end
for _, i in ipairs(gone) do
  redis.call('DEL', KEYS[i])
  members = members - redis.call('ZREM', index, ARGV[i - 2])
  expiring = expiring - redis.call('ZREM', expiry, ARGV[i - 2])
end
`+luaSettle+`
return {'ok', string.format('%.0f', #gone)}`)

// clockScript tells the time of the server that has the key.
//
//	KEYS  1 any key: it only says which node of a Cluster is asked
//	reply ok <Unix time in microseconds>
var clockScript = newScript("clock", `
local t = redis.call('TIME')
return {'ok', string.format('%.0f', t[1] * 1000000 + t[2])}`)

// A script is one of the above with the digest that EVALSHA names it by.
type script struct{ name, source, sha string }

func newScript(name, source string) *script {
	source = strings.TrimSpace(source)
	sum := sha1.Sum([]byte(source))
	return &script{name: name, source: source, sha: hex.EncodeToString(sum[:])}
}

// The statuses of a reply.
const (
	statusOK       = "ok"
	statusConflict = "conflict"
	statusFull     = "full"
	statusOverflow = "overflow"
	statusCorrupt  = "corrupt"
)

// A reply is what a script answers: a status, and a value that is a number for
// every status but corrupt.
type reply struct {
	status string
	number uint64
	reason string // of statusCorrupt
}

// decodeReply accepts what the scripts say and nothing else: anything that
// surprises is an error that names the script.
func (s *script) decodeReply(raw []any) (reply, error) {
	surprise := func() (reply, error) {
		return reply{}, fmt.Errorf("taskstore: script %s: unexpected reply of %d elements", s.name, len(raw))
	}
	if len(raw) != 2 {
		return surprise()
	}
	status, ok1 := raw[0].(string)
	value, ok2 := raw[1].(string)
	if !ok1 || !ok2 {
		return surprise()
	}
	if status == statusCorrupt {
		return reply{status: status, reason: value}, nil
	}
	n, err := parseVersion(value)
	switch {
	case err == nil && (status == statusOK || status == statusConflict || status == statusFull):
		return reply{status: status, number: n}, nil
	case status == statusOverflow:
		return reply{status: status, number: uint64(MaxVersion)}, nil
	case status == statusConflict: // the one number that the script passes on as it found it
		return reply{status: statusCorrupt, reason: "version is not a number"}, nil
	}
	return surprise()
}

// parseVersion reads a decimal number as the scripts write it: no sign, no
// leading zero, at most MaxVersion.
func parseVersion(s string) (uint64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, strconv.ErrSyntax
	}
	return uint64(n), nil
}
