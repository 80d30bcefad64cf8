package taskstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/taskstore/taskstore/internal/redislink"
)

// Put implements [StorageBackend]. A Put that is resent after a lost answer may be
// applied twice, see RedisBackend.
func (b *RedisBackend) Put(ctx context.Context, key Key, v Value) (Version, error) {
	w, err := b.prepare(ctx, key, v)
	if err != nil {
		return 0, err
	}
	args := []string{w.op, w.data, w.expires, key.Task, w.limit.text}
	first := args[:4]
	if !w.limit.own {
		first = args
	}
	r, err := b.link.Write(ctx, &redislink.Write{
		First: redislink.Call{Script: b.scripts.put, Keys: w.keys[:], Args: first},
		Again: redislink.Call{Script: b.scripts.putAgain, Keys: w.keys[:], Args: args},
		Alone: redislink.Call{Script: b.scripts.updateAlone, Keys: w.keys[:1], Args: []string{w.op, w.data, w.expires, key.Task, w.index()}},
		Size:  len(w.data), Longest: len(w.data),
	}, b.makeRoom(key))
	return w.result("put", 0, r, err)
}

// PutIfVersion implements [StorageBackend]. The script recognises a write that is resent
// after a lost answer, see RedisBackend.
func (b *RedisBackend) PutIfVersion(ctx context.Context, key Key, v Value, expected Version) (Version, error) {
	w, err := b.prepare(ctx, key, v)
	if err != nil {
		return 0, err
	}
	was, next := strconv.FormatUint(uint64(expected), 10), ""
	if expected < MaxVersion {
		next = strconv.FormatUint(uint64(expected)+1, 10)
	}
	args := []string{w.op, w.data, w.expires, key.Task, was, next, w.limit.text}
	first := args[:6]
	if expected == 0 || next == "" {
		first = args
	}
	r, err := b.link.Write(ctx, &redislink.Write{
		First: redislink.Call{Script: b.scripts.putIfVersion, Keys: w.keys[:], Args: first},
		Again: redislink.Call{Script: b.scripts.putIfVersionAgain, Keys: w.keys[:], Args: args},
		ByAge: true,
		Alone: redislink.Call{Script: b.scripts.updateAlone, Keys: w.keys[:1], Args: []string{w.op, w.data, w.expires, key.Task, w.index(), was, next}},
		Size:  len(w.data), Longest: len(w.data),
	}, b.makeRoom(key))
	return w.result("put if version", expected, r, err)
}

// A recordWrite is the checked input of Put and PutIfVersion.
type recordWrite struct {
	key               Key
	keys              [3]string // in the order of the scripts
	op, data, expires string
	limit             recordLimit
}

// A recordLimit is how many records a collection of the owner may have, 0: any number.
type recordLimit struct {
	most int
	text string
	own  bool // it is the limit in the scripts
}

// prepare checks the arguments of Put and PutIfVersion.
func (b *RedisBackend) prepare(ctx context.Context, key Key, v Value) (w recordWrite, err error) {
	if err := b.usable(ctx); err != nil {
		return recordWrite{}, err
	}
	if err := key.Validate(); err != nil {
		return recordWrite{}, err
	}
	if err := v.Validate(b.opts.MaxDataBytes); err != nil {
		return recordWrite{}, err
	}
	if expiresAt := v.expiryMillis(); expiresAt != 0 {
		w.expires = strconv.FormatInt(expiresAt, 10)
	}
	// string(v.Data) is a copy: a command that the call left behind when ctx ended may
	// still be sent when the caller uses its slice again.
	w.key, w.keys, w.op, w.data = key, b.keys.all(key), newOperationID(), string(v.Data)
	w.limit = b.limit
	if most := RecordLimit(ctx, b.limit.most); most != b.limit.most {
		w.limit = recordLimit{most: most, text: strconv.Itoa(most)}
	}
	return w, nil
}

// index is the key of the owner's index.
func (w *recordWrite) index() string { return w.keys[1] }

// result is the caller's result of a write that ended with r or err.
func (w *recordWrite) result(verb string, expected Version, r redislink.Reply, err error) (Version, error) {
	if err != nil {
		return 0, failure(verb, w.key, err)
	}
	switch r.Status {
	case redislink.StatusOK:
		return Version(r.Number), nil
	case redislink.StatusConflict:
		return 0, &VersionConflictError{Key: w.key, Expected: expected, Actual: Version(r.Number)}
	case redislink.StatusFull:
		full := &CapacityError{Limit: LimitRecords, Max: uint64(w.limit.most), Asked: r.Number + 1}
		if r.Resent { // an earlier copy may have found room
			return 0, failure(verb, w.key, &redislink.UncertainError{Cause: full})
		}
		return 0, full
	case redislink.StatusOverflow:
		return 0, &CapacityError{Limit: LimitVersions, Max: uint64(MaxVersion), Asked: uint64(MaxVersion) + 1}
	default:
		return 0, &CorruptError{Key: w.key, Reason: r.Reason}
	}
}

// newOperationID returns 8 bytes that are unique among writes. The ids tell writes apart;
// they need not be hard to guess.
func newOperationID() string {
	var id [8]byte
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	return string(id[:])
}

// Delete implements [StorageBackend]. It also removes a damaged record. A Delete that is
// resent after a lost answer mostly cannot tell whether there was a record, see
// RedisBackend.
func (b *RedisBackend) Delete(ctx context.Context, key Key) (bool, error) {
	if err := b.usable(ctx); err != nil {
		return false, err
	}
	if err := key.Validate(); err != nil {
		return false, err
	}
	keys := b.keys.all(key)
	remove := redislink.Call{Script: b.scripts.delete, Keys: keys[:], Args: []string{key.Task}}
	r, err := b.link.Write(ctx, &redislink.Write{First: remove, Again: remove, ByAge: true}, nil)
	if err != nil {
		return false, failure("delete", key, err)
	}
	return r.Number == 1, nil
}

// scripts are those of one backend.
type scripts struct {
	put, putAgain, putIfVersion, putIfVersionAgain, updateAlone, batch, batchAgain, delete *redislink.Script
	read, repair, clock                                                                    *redislink.Script
}

// newScripts makes the scripts for at most limit records per owner, 0 for any number, and
// hints by the command publish, empty for no hints, on channels whose names end with
// database. wait says that replicas are to acknowledge writes.
func newScripts(limit int, publish, database string, wait bool) scripts {
	hints := "false"
	if publish != "" {
		hints = "'" + publish + "'"
	}
	settings := fmt.Sprintf("local limit, publish, database, wait = %d, %s, '%s', %t\n", limit, hints, database, wait)
	make := func(name, source string) *redislink.Script {
		return redislink.NewScript(name, settings+strings.TrimSpace(source))
	}
	ofBatch := func(s *redislink.Script) *redislink.Script {
		s.Writes = MaxBatch
		return s
	}
	return scripts{
		put:               make("put", luaPut),
		putAgain:          make("putAgain", luaPutAgain),
		putIfVersion:      make("putIfVersion", luaPutIfVersion),
		putIfVersionAgain: make("putIfVersionAgain", luaPutIfVersionAgain),
		updateAlone:       make("updateAlone", luaUpdateAlone),
		batch:             ofBatch(make("batch", luaBatch)),
		batchAgain:        ofBatch(make("batchAgain", luaBatchAgain)),
		delete:            make("delete", luaDelete),
		read:              make("read", luaRead),
		repair:            make("repair", luaRepair),
		clock:             make("clock", luaClock),
	}
}
