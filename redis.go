package taskstore

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// Storage layout. <owner> and <task> stand for the escaped forms (redis_keys.go),
// so all keys of an owner carry one hash tag and lie in one slot of a Cluster.
//
//	key                              type        content
//	<prefix>:tasks:{<owner>}:<task>  hash        one record
//	    version                                  decimal
//	    data                                     any bytes
//	    expires_at                               Unix milliseconds; absent: never
//	    ops                                      ids of the last 8 writes, newest
//	                                             first, 8 bytes each
//	<prefix>:idx:{<owner>}           sorted set  task, scored by order of creation
//	<prefix>:exp:{<owner>}           sorted set  expiring tasks only, scored by
//	                                             expires_at
//	<prefix>:idx:{<owner>}           channel     "<version> <task>", 0: gone; in a
//	                                             database n but 0 its name ends with
//	                                             /n, for channels know no databases
//
// An expiring record has a TTL that ends a second after its expires_at. The TTL only
// reclaims memory; whether a record is past is told by the field and the server's
// clock (redis_lua.go says why).
//
// The score in idx is the server's time of creation in microseconds, raised
// where needed to be greater than every earlier one: a total order, and so a
// cursor. The two sets hold the live tasks and at most those expired ones that
// are not trimmed yet. Equal sizes say that all tasks expire; then both sets live
// a second longer than the last of them (luaSettle says why), otherwise for ever.
// So the number of live tasks is exact and cheap to ask for, and nothing is left
// of an owner whose tasks are gone, whether or not anybody comes back to look.
//
// A field that this version does not know is left alone. A layout that it could
// not read would use other keys.

// A RedisBackend keeps records in Redis or Valkey, version 6.2 or later, on one
// server, behind Sentinel or in a Cluster. Any number of processes may share
// them. It implements [StorageBackend], [Pager], [Watcher], [Clock], [Pinger] and
// [io.Closer].
//
// Every write is one atomic script and one round trip, Get is one HMGET.
// CleanupExpired has nothing to do: the server expires records, and the scripts
// keep the indexes clean.
//
// # Resending
//
// A call that meets a server that cannot answer, since a connection broke or the
// server restarts, fails over or hands slots to another, goes on trying: for about
// 20 seconds (a listing for each of its round trips), or until its ctx ends. While a
// slot is moved key by key, Get goes on, and so does an update that keeps the expiry and
// whose answer is not lost; other writes and listings succeed when the slot's last key
// has moved. The client's own resending is off. Every write carries an
// operation id, and a record keeps the ids of its last 8 writes. So a write that was
// applied, and whose answer was lost, is recognised when it is sent again: it succeeds,
// and is applied once.
// What comes of a write whose answer was lost, found or not among those 8:
//
//	                  found      not found
//	Put               succeeds   is applied, perhaps again, over what others wrote
//	                             meanwhile
//	create            succeeds   is applied where there is no record, perhaps again;
//	                             a conflict with one that was there before the
//	                             call; otherwise unknown
//	PutIfVersion      succeeds   is applied at the expected version; a conflict where
//	                             8 writes or fewer have been made since; otherwise
//	                             unknown. So is all of that if the record is gone
//	                             or was not there before the call
//	Delete                       true where the record is there that was there before
//	                             the call; otherwise unknown
//
// What was there less than 10 milliseconds before the call counts as not there
// before. Unknown means [ErrOutcomeUnknown], which also ends a call whose ctx or
// whose time is over while the outcome is not known. Where surely nothing was
// applied the error is another one.
//
// What a network delays can arrive after all this. A PutIfVersion then fails on its
// version, unheard and harmless. A delayed Put writes over what came after it, a
// delayed create makes a record anew that was deleted meanwhile, a delayed Delete
// removes a successor. Update with PutIfVersion, and do not use a task again that
// was deleted, and none of it matters.
//
// # Servers that are replaced
//
// Connections may go on leading to a master that was demoted, behind a forwarder or a
// name that leads elsewhere by now. The backend asks for the role of the server about
// once a second while it is used, on the connections of reads as on those of writes,
// and drops those that lead to a replica; a read after a pause asks in its own round
// trip. So a process that only reads notices within a few seconds, and Ping says so at
// once. Where only a replica is to be reached, reads are tried again like writes, and
// end with an error that says so. A user or password that the server refuses is
// tried again as well: it may be about to change.
//
// The clocks of a master and of the replica that takes its place are to differ by
// less than 10 milliseconds; otherwise a write that was resent across the failover
// may take a successor for the record that it was about.
//
// The server must not evict keys (maxmemory-policy noeviction): an evicted index
// hides the tasks that are in it.
type RedisBackend struct {
	link    *redislink.Link
	keys    redisKeys
	opts    RedisOptions
	scripts scripts
	limit   recordLimit
	watch   *redisWatch
	closing sync.Once
}

var (
	_ StorageBackend = (*RedisBackend)(nil)
	_ Pager          = (*RedisBackend)(nil)
	_ Watcher        = (*RedisBackend)(nil)
	_ Clock          = (*RedisBackend)(nil)
	_ Pinger         = (*RedisBackend)(nil)
	_ io.Closer      = (*RedisBackend)(nil)
)

// NewRedisBackend returns a backend on a client that stays the caller's: Close
// leaves it open. It talks to no server yet. Nil opts mean the defaults.
//
// What cannot keep the contract gives an error that matches
// [ErrInvalidArgument]: no client, a Ring, a client that reads from replicas or
// from a cache in the process. That a failover client was made with ReplicaOnly
// does not show; its calls fail.
//
// Hooks of the client see every attempt. A hook that retries by itself undoes what
// the backend does against that: a Put whose answer was lost is applied twice, and a
// PutIfVersion that won is told that it has a conflict, so leave retrying to the
// backend. The error of a circuit breaker, in a hook or as the client's Limiter, ends
// a call at once where it can be told, which is where it says that a circuit is open;
// any other error of a hook is taken for a fault of the connection, and each call goes
// on trying for about 20 seconds.
func NewRedisBackend(client redis.UniversalClient, opts *RedisOptions) (*RedisBackend, error) {
	traits, err := redislink.Inspect(client)
	if err != nil {
		return nil, argument(err)
	}
	b := new(RedisBackend)
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.Prefix == "" {
		b.opts.Prefix = "taskstore"
	}
	if strings.ContainsAny(b.opts.Prefix, "{}") {
		return nil, &ArgumentError{Argument: "RedisOptions.Prefix", Reason: "it must not contain braces, which mark the part of a key that chooses its slot"}
	}
	b.keys = redisKeys{prefix: b.opts.Prefix}
	if traits.Database != 0 {
		b.keys.database = "/" + strconv.Itoa(traits.Database)
	}
	publish := "PUBLISH"
	if traits.Cluster {
		publish = "SPUBLISH" // PUBLISH would reach every node, not one shard's
	}
	if b.opts.NoHints {
		publish = ""
	}
	most := max(b.opts.MaxRecordsPerOwner, 0)
	b.limit = recordLimit{most: most, text: strconv.Itoa(most), own: true}
	b.scripts = newScripts(most, publish, b.keys.database, b.opts.MinReplicas > 0)
	b.link, err = redislink.New(client, redislink.Options{
		Closed: ErrClosed, Clock: b.scripts.clock, Key: b.keys.clock(),
		AutoPipeline: b.opts.AutoPipeline, MinReplicas: b.opts.MinReplicas, ReplicaTimeout: b.opts.ReplicaTimeout,
	})
	if err != nil {
		return nil, argument(err)
	}
	b.watch = newRedisWatch(b.link, b.keys)
	return b, nil
}

// String says what it is, and no more: whom it watches for may be personal.
func (b *RedisBackend) String() string { return "RedisBackend" }

// GoString is String; it keeps owners out of %#v too.
func (b *RedisBackend) GoString() string { return b.String() }

// Close ends the watches and, on a backend that OpenRedis made, closes the
// connections. Calls that come later give an error that matches [ErrClosed].
// Closing again does nothing.
func (b *RedisBackend) Close() (err error) {
	b.closing.Do(func() {
		b.watch.feed.Close()
		err = b.link.Close()
	})
	return err
}

// Ping implements [Pinger]. In a Cluster it asks all masters. A server that is a
// replica is an error.
func (b *RedisBackend) Ping(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := b.link.Ping(ctx); err != nil {
		return failure("ping", Key{}, b.link.Ended(err))
	}
	return nil
}

// Now implements [Clock]: it is the server's time, give or take half a round
// trip. While it is in use it asks the server every five seconds, in the
// background; only the first call, and one after a pause, waits for the answer. In
// a Cluster it asks one node; the masters' clocks should be kept together, as for
// any Cluster.
func (b *RedisBackend) Now(ctx context.Context) (time.Time, error) {
	if err := b.usable(ctx); err != nil {
		return time.Time{}, err
	}
	now, err := b.link.Now(ctx)
	if err != nil {
		return time.Time{}, failure("read the server's clock", Key{}, err)
	}
	return now, nil
}

// usable is what every method asks first.
func (b *RedisBackend) usable(ctx context.Context) error {
	if b.link.Closed() {
		return ErrClosed
	}
	b.link.AttendToRole()
	return ctx.Err()
}

// Get implements [StorageBackend].
func (b *RedisBackend) Get(ctx context.Context, key Key) (Record, error) {
	if err := b.usable(ctx); err != nil {
		return Record{}, err
	}
	if err := checkKey(key); err != nil {
		return Record{}, err
	}
	rec, ok, err := b.read(ctx, key)
	if err == nil && ok && b.link.MaybePast(rec.expiresAt) {
		rec, ok, err = b.judge(ctx, key)
	}
	switch {
	case errors.Is(err, ErrCorrupt):
		return Record{}, err
	case err != nil:
		return Record{}, failure("get", key, err)
	case !ok:
		return Record{}, ErrNotFound
	}
	return rec.Record, nil
}

// Put implements [StorageBackend]. Resent after a lost answer it may be applied
// twice, see RedisBackend.
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
		Size:  len(w.data),
	}, b.makeRoom(key.Owner))
	return w.result("put", 0, r, err)
}

// PutIfVersion implements [StorageBackend]. Resent after a lost answer it is
// recognised, see RedisBackend.
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
		Size:  len(w.data),
	}, b.makeRoom(key.Owner))
	return w.result("put if version", expected, r, err)
}

// A recordWrite is what both verbs that write a record know of it.
type recordWrite struct {
	key               Key
	keys              [3]string // as the scripts have them
	op, data, expires string
	limit             recordLimit
}

// A recordLimit is how many records the owner may have, 0: any number.
type recordLimit struct {
	most int
	text string
	own  bool // it is the one in the scripts
}

// prepare checks what both verbs are told.
func (b *RedisBackend) prepare(ctx context.Context, key Key, v Value) (w recordWrite, err error) {
	if err := b.usable(ctx); err != nil {
		return recordWrite{}, err
	}
	if err := checkKey(key); err != nil {
		return recordWrite{}, err
	}
	expiresAt, err := checkValue(v, b.opts.MaxDataBytes)
	if err != nil {
		return recordWrite{}, err
	}
	if expiresAt != 0 {
		w.expires = strconv.FormatInt(expiresAt, 10)
	}
	// string(v.Data) is a copy: a command that ctx left behind may still be sent
	// when the caller has its slice back.
	w.key, w.keys, w.op, w.data = key, b.keys.all(key), newOperationID(), string(v.Data)
	w.limit = b.limit
	if most := RecordLimit(ctx, b.limit.most); most != b.limit.most {
		w.limit = recordLimit{most: most, text: strconv.Itoa(most)}
	}
	return w, nil
}

// index is the key of the owner's index.
func (w *recordWrite) index() string { return w.keys[1] }

// result is what the caller is told of a write that ended with r or err.
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

// newOperationID returns 8 bytes that no other write has. They tell writes
// apart, nothing has to be kept from guessing them.
func newOperationID() string {
	var id [8]byte
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	return string(id[:])
}

// Delete implements [StorageBackend]. It also removes a record that is damaged.
// Resent after a lost answer it mostly cannot tell whether there was one, see
// RedisBackend.
func (b *RedisBackend) Delete(ctx context.Context, key Key) (bool, error) {
	if err := b.usable(ctx); err != nil {
		return false, err
	}
	if err := checkKey(key); err != nil {
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

// CleanupExpired implements [StorageBackend]. It returns 0: the server reclaims
// expired records and the scripts their index entries.
func (b *RedisBackend) CleanupExpired(ctx context.Context) (int, error) {
	return 0, b.usable(ctx)
}
