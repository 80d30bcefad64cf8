package taskstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A RedisBackend keeps records in Redis or Valkey, version 6.2 or later, on one
// server, behind Sentinel or in a Cluster. Any number of processes may share
// them. It implements [StorageBackend], [Batcher], [Pager], [Watcher], [Clock],
// [Pinger] and [io.Closer].
//
// Every write and every batch is one atomic script and one round trip, Get is one HMGET.
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
// The outcome of a write whose answer was lost, found or not among those 8:
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
//	PutBatch      succeeds       each write, in order, as one by itself: the first that
//	                             is refused, or unknown, decides. The batch is applied
//	                             where all of them are
//
// A batch is found if any of the records that it stored has its id. A conflict at one of
// the later writes of a batch says like that of a create that nothing was applied so far.
//
// A record that was there less than 10 milliseconds before the call counts as not there
// before. Unknown means [ErrOutcomeUnknown], which also ends a call whose ctx or
// whose time is over while the outcome is not known. If surely nothing was
// applied the error is another one.
//
// A write that a network delays can arrive after all this. A PutIfVersion then fails on its
// version, unheard and harmless. A delayed Put writes over what came after it, a
// delayed create makes a record anew that was deleted meanwhile, a delayed Delete
// removes a successor. A delayed batch whose later write met a record is applied when
// that one has gone and the first is as it was. Update with PutIfVersion, and do not use a
// task again that was deleted, and none of it matters.
//
// # Servers that are replaced
//
// Connections may go on leading to a master that was demoted, behind a forwarder or a
// name that leads elsewhere by now. The backend asks for the role of the server about
// once a second while it is used, on the connections of reads as on those of writes,
// and drops those that lead to a replica; a read after a pause asks in its own round
// trip. So a process that only reads notices within a few seconds, and Ping says so at
// once. If only a replica is to be reached, reads are tried again like writes, and
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
	_ Batcher        = (*RedisBackend)(nil)
	_ Pager          = (*RedisBackend)(nil)
	_ Watcher        = (*RedisBackend)(nil)
	_ Clock          = (*RedisBackend)(nil)
	_ Pinger         = (*RedisBackend)(nil)
	_ io.Closer      = (*RedisBackend)(nil)
)

// NewRedisBackend returns a backend on a client that stays the caller's: Close
// leaves it open. It talks to no server yet. Nil opts mean the defaults.
//
// A client that cannot keep the contract gives an error that matches
// [ErrInvalidArgument]: no client, a Ring, a client that reads from replicas or
// from a cache in the process. A failover client that was made with ReplicaOnly
// cannot be told from others; its calls fail.
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
		Closed: ErrClosed, Damage: ErrCorrupt, Clock: b.scripts.clock, Key: b.keys.clock(),
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
		b.link.Shut() // first: a watch that ends tells that calls fail
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
	if err := key.Validate(); err != nil {
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

// CleanupExpired implements [StorageBackend]. It returns 0: the server reclaims
// expired records and the scripts their index entries.
func (b *RedisBackend) CleanupExpired(ctx context.Context) (int, error) {
	return 0, b.usable(ctx)
}

// errReplica says what READONLY means.
var errReplica = errors.New("the server is a replica, which takes no writes and may lag behind; name its master, its Sentinels or its Cluster")

// tooLong is what the caller is told of data that the server does not take.
func tooLong(e *redislink.TooLongError) error {
	if e.Max > 0 {
		return &CapacityError{Limit: LimitData, Max: uint64(e.Max), Asked: uint64(e.Size)}
	}
	return fmt.Errorf("%w: %w", ErrCapacityExceeded, e)
}

// failure turns the error of a command into the one that the caller sees. verb
// says what was tried.
func failure(verb string, key Key, err error) error {
	err = redislink.Redact(err)
	var uncertain *redislink.UncertainError
	var long *redislink.TooLongError
	switch {
	case errors.As(err, &uncertain):
		cause := uncertain.Cause
		if errors.As(cause, &long) {
			cause = tooLong(long)
		}
		return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, verb, cause)
	case errors.As(err, &long) && long.Max > 0:
		return tooLong(long)
	case errors.As(err, &long):
		err = tooLong(long)
	case redislink.Said(err, "WRONGTYPE"):
		return &CorruptError{Key: key, Reason: "a key of the record or its indexes holds a value of another type", Err: err}
	case redislink.OfReplica(err):
		return fmt.Errorf("taskstore: %s: %w: %w", verb, errReplica, err)
	case redislink.Said(err, "OOM"):
		return fmt.Errorf("%w: the server is out of memory: %w", ErrCapacityExceeded, err)
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}
