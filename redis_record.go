package taskstore

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
)

// Storage layout. <owner> and <task> stand for the escaped forms, so all keys of an owner
// carry one hash tag and lie in one slot of a Cluster. In a named collection,
// {<owner>}.<collection> replaces {<owner>}.
//
//	key                              type        content
//	<prefix>:tasks:{<owner>}:<task>  hash        one record
//	    version                                  decimal
//	    data                                     any bytes
//	    expires_at                               Unix milliseconds; absent: no expiry
//	    ops                                      ids of the last 8 writes, newest
//	                                             first, 8 bytes each
//	<prefix>:idx:{<owner>}           sorted set  task, scored by order of creation
//	<prefix>:exp:{<owner>}           sorted set  expiring tasks only, scored by
//	                                             expires_at
//	<prefix>:idx:{<owner>}           channel     "<version> <task>", 0: gone; in a
//	                                             database n other than 0 its name ends
//	                                             with /n: databases share channels
//
// An expiring record has a TTL that ends a second after its expires_at. The TTL only
// reclaims memory; the field and the server's clock decide whether a record is past
// (redis_lua.go says why).
//
// The score in idx is the server's time of creation in microseconds, raised if
// necessary above every earlier one: a total order, and so a cursor. The two sets hold
// the live tasks, and at most those expired ones that are not trimmed yet. If their
// sizes are equal, all tasks expire; then both sets live a second longer than the last
// of them (luaSettle says why), otherwise without limit. So the number of live tasks is
// exact and cheap to read, and the keys of an owner whose tasks are gone go too, even
// if the owner does not come back.
//
// A field that this version does not know is left alone. A layout that it could
// not read would use other keys.

// redisKeys builds every key and channel name of one RedisBackend.
//
// Owner, collection and task are escaped as in a URL query, which is injective and escapes
// braces and colons. So the parts cannot be confused, and the only hash tag of a key is
// the owner's: all keys of an owner are in one slot of a Cluster.
type redisKeys struct {
	prefix   string
	database string // the suffix of channel names, as databases share channels
}

func escapeKeyPart(s string) string { return url.QueryEscape(s) }

// scopeKeys are the keys of one collection of an owner.
type scopeKeys struct {
	tasks  string // the start of the keys of the tasks
	index  string
	expiry string
}

func (k redisKeys) scope(s hub.Scope) scopeKeys {
	owner, end := escapeKeyPart(s.Owner), "}"
	if s.Collection != "" {
		end = "}." + escapeKeyPart(s.Collection)
	}
	return scopeKeys{
		tasks:  k.prefix + ":tasks:{" + owner + end + ":",
		index:  k.prefix + ":idx:{" + owner + end,
		expiry: k.prefix + ":exp:{" + owner + end,
	}
}

// record is scope(scopeOf(key)).task(key.Task), in one step for the default collection.
func (k redisKeys) record(key Key) string {
	if key.Collection != "" {
		return k.scope(scopeOf(key)).task(key.Task)
	}
	return k.prefix + ":tasks:{" + escapeKeyPart(key.Owner) + "}:" + escapeKeyPart(key.Task)
}

func (o scopeKeys) task(task string) string { return o.tasks + escapeKeyPart(task) }

// all returns the keys of a record and of its collection's indexes, in the order of the
// scripts.
func (k redisKeys) all(key Key) [3]string {
	o := k.scope(scopeOf(key))
	return [3]string{o.task(key.Task), o.index, o.expiry}
}

// channel is the name of a collection's channel; in database 0 it is the name of the index.
func (k redisKeys) channel(s hub.Scope) string { return k.scope(s).index + k.database }

// scopeOf returns the collection that has the channel.
func (k redisKeys) scopeOf(channel string) (s hub.Scope) {
	name := strings.TrimSuffix(strings.TrimPrefix(channel, k.prefix+":idx:{"), k.database)
	owner, collection, _ := strings.Cut(name, "}")
	s.Owner, _ = url.QueryUnescape(owner)
	s.Collection, _ = url.QueryUnescape(strings.TrimPrefix(collection, "."))
	return s
}

// clock is the key that the clock script names, so that a Cluster always sends the script
// to the same node. It holds no value.
func (k redisKeys) clock() string { return k.prefix + ":clock" }

// appendHMGet appends the command that asks for a record.
func appendHMGet(args []any, recordKey string) []any {
	return append(args, hmgetName, recordKey, versionField, dataField, expiresField)
}

const hmgetLength = 5

// These are converted to interfaces once, not at every call.
var hmgetName, versionField, dataField, expiresField any = "hmget", "version", "data", "expires_at"

// A redisRecord is a Record with its expiry as stored.
type redisRecord struct {
	Record
	expiresAt int64
}

// decodeRecord decodes the answer to the command that asks for a record. ok is false
// if the record is absent.
func decodeRecord(key Key, fields []any) (rec redisRecord, ok bool, err error) {
	corrupt := func(reason string) (redisRecord, bool, error) {
		return redisRecord{}, false, &CorruptError{Key: key, Reason: reason}
	}
	if len(fields) != 3 {
		return corrupt(fmt.Sprintf("3 fields were asked for and %d came", len(fields)))
	}
	version, hasVersion := fields[0].(string)
	data, hasData := fields[1].(string)
	expires, hasExpiry := fields[2].(string)
	switch {
	case !hasVersion && !hasData && !hasExpiry:
		return redisRecord{}, false, nil
	case !hasVersion:
		return corrupt("version is missing")
	case !hasData:
		return corrupt("data is missing")
	}
	n, err := redislink.ParseNumber(version)
	if err != nil || n == 0 {
		return corrupt("version is not a number")
	}
	rec.Key, rec.Version, rec.Data = key, Version(n), []byte(data)
	if hasExpiry {
		ms, err := redislink.ParseNumber(expires)
		if err != nil || ms == 0 || int64(ms) > maxExpiry.UnixMilli() {
			return corrupt("expires_at is not a number of milliseconds")
		}
		rec.expiresAt = int64(ms)
		rec.ExpiresAt = expiryTime(rec.expiresAt)
	}
	return rec, true, nil
}

// read returns a record as stored; it may be past.
func (b *RedisBackend) read(ctx context.Context, key Key) (rec redisRecord, ok bool, err error) {
	recordKey := b.keys.record(key)
	fields, err := b.link.Read(ctx, appendHMGet(nil, recordKey)...)
	if err != nil {
		return redisRecord{}, false, err
	}
	return decodeRecord(key, fields)
}

// slowGet is the slow path of Get. It returns the record unless it is past by the clock of
// its server.
func (b *RedisBackend) slowGet(ctx context.Context, key Key) (rec redisRecord, ok bool, err error) {
	o := b.keys.scope(scopeOf(key))
	shown, err := redislink.Retry(ctx, b.link, func() (shownRecords, error) {
		from := b.link.Clock.Local()
		// Only the record's key: while its slot is moved key by key, the index may be elsewhere.
		raw, err := b.link.Eval(ctx, b.readCall(o.task(key.Task), o, []string{key.Task}, 0, 1))
		if err != nil {
			return shownRecords{}, err
		}
		s, err := decodeRead(b.scripts.read, raw, 1)
		if err == nil {
			b.link.Clock.Set(s.at, from, b.link.Clock.Local())
		}
		return s, err
	})
	if err != nil {
		return redisRecord{}, false, err
	}
	return shown.record(0, key)
}

// readCall is the call that reads the tasks on the server of the key at: at most most
// records, with at most room bytes of data.
func (b *RedisBackend) readCall(at string, o scopeKeys, tasks []string, room, most int) redislink.Call {
	keys := append(make([]string, 0, 1+len(tasks)), at)
	for _, task := range tasks {
		keys = append(keys, o.task(task))
	}
	return redislink.Call{Script: b.scripts.read, Keys: keys, Args: []string{strconv.Itoa(room), strconv.Itoa(most)}}
}

// shownRecords are records as a server had them at an instant.
type shownRecords struct {
	at    time.Time
	items []any // each the fields of a record, the length of its data, or wrongType
}

// wrongType stands for a value that is not a hash.
const wrongType = "WRONGTYPE"

// decodeRead decodes the reply of the script that reads n records.
func decodeRead(s *redislink.Script, raw any, n int) (shownRecords, error) {
	items, ok := raw.([]any)
	if !ok || len(items) != n+1 {
		return shownRecords{}, s.Surprise(raw)
	}
	text, _ := items[0].(string)
	us, err := redislink.ParseNumber(text)
	if err != nil {
		return shownRecords{}, s.Surprise(raw)
	}
	for _, item := range items[1:] {
		switch item := item.(type) {
		case []any, int64:
		case string:
			ok = ok && item == wrongType
		default:
			ok = false
		}
	}
	if !ok {
		return shownRecords{}, s.Surprise(raw)
	}
	return shownRecords{at: time.UnixMicro(int64(us)).UTC(), items: items[1:]}, nil
}

// record returns the i-th record, of key. ok is false if the record is absent or past.
func (s shownRecords) record(i int, key Key) (rec redisRecord, ok bool, err error) {
	fields, isHash := s.items[i].([]any)
	if !isHash {
		return redisRecord{}, false, &CorruptError{Key: key, Reason: "its key holds a value of another type"}
	}
	rec, ok, err = decodeRecord(key, fields)
	return rec, ok && (rec.expiresAt == 0 || rec.expiresAt >= s.at.UnixMilli()), err
}
