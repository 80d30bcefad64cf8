package taskstore

// luaRecall begins the counterparts of the scripts that write, for a write that was
// sent before without an answer coming. It finds out:
//
//	place   of the write's operation id among those of the record, 1 is the newest;
//	        nil if it is not there
//
// Where replicas are to acknowledge, a write that is found is written once more,
// without a difference: WAIT promises nothing but for writes of its own connection.
const luaRecall = `
local place
for i = 1, #ops, 8 do
  if string.sub(ops, i, i + 7) == op then place = (i + 7) / 8 break end
end
if place and wait then redis.call('HSET', record, 'ops', ops) end
`

// luaPutAgain resends a put. One that was applied gets the version that it made.
// Any other is applied, now: the last writer wins.
//
//	ARGV  1-5 as luaPut
//	reply as luaPut, and unknown <present version>
const luaPutAgain = luaFields + luaJudge + `
limit = tonumber(ARGV[5])
` + luaRecall + `
if place then
  if #version < 16 then return string.format('%.0f', version - place + 1) end
  if place == 1 then return version end
  return {'unknown', version}
end
` + luaPutAny

// luaPutIfVersionAgain resends a put if version. One that was applied succeeds. One
// that was not is tried now, where it is sure that it was not, and is a conflict
// where that is sure:
//
//	expected 0   a record that was there before the first copy was sent, by its
//	             place in the order of creation; any other may be a successor of
//	             the one that the write has made
//	otherwise    such a record, beyond the expected version, and all writes since are
//	             among its operation ids
//
// Before the expected version nothing is sure: a first copy that is late may meet it
// yet.
//
//	ARGV  1-7 as luaPutIfVersion, 8 an instant before the first copy was sent, in µs
//	reply as luaPutIfVersion, and unknown <present version>
const luaPutIfVersionAgain = luaFields + luaJudge + `
limit = tonumber(ARGV[7])
` + luaRecall + `
if place then return ARGV[6] end
local born = redis.call('ZSCORE', index, task)
local before = born and tonumber(born) < tonumber(ARGV[8])
if version or ARGV[5] ~= '0' then
  if not version or not before then return {'unknown', version or '0'} end
  if ARGV[5] ~= '0' and version ~= ARGV[5] then
    local since = version - ARGV[5]
    if #version > 15 or since < 0 or since > #ops / 8 then return {'unknown', version} end
  end
end
` + luaPutExpected
