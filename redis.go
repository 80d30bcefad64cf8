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
// CleanupExpired has no work to do: the server expires records, and the scripts
// keep the indexes clean.
//
// # Resending
//
// A server cannot answer while a connection breaks, or while it restarts, fails over or
// hands slots to another server. A call then retries for about 20 seconds (a listing for
// each of its round trips), or until its ctx ends. While a slot is moved key by key, Get
// succeeds, and so does an update that keeps the expiry and whose answer is not lost;
// other writes and listings succeed when the slot's last key has moved. The backend turns
// the client's own retries off.
//
// Every write carries an operation id, and a record keeps the ids of its last 8 writes.
// So the script recognises a resent write that was applied and whose answer was lost: the
// write succeeds, and is applied once. The outcome of a write whose answer was lost, by
// whether its id is among those 8:
//
//	                  found      not found
//	Put               succeeds   is applied, perhaps again, over what others wrote
//	                             meanwhile
//	create            succeeds   is applied if there is no record, perhaps again;
//	                             a conflict with a record that was there before the
//	                             call; otherwise unknown
//	PutIfVersion      succeeds   is applied at the expected version; a conflict if
//	                             8 writes or fewer have been made since; otherwise
//	                             unknown. All of that is unknown if the record is gone
//	                             or was not there before the call
//	Delete                       true if the record is there that was there before
//	                             the call; otherwise unknown
//	PutBatch          succeeds   each write, in order, as a single one: the first that
//	                             is refused, or unknown, decides. The batch is applied
//	                             if all its writes are
//
// A batch is found if any of the records that it stored has its id. A conflict at a later
// write of a batch shows, like that of a create, that the batch has not been applied so far.
//
// A record created less than 10 milliseconds before the call is treated as created after
// it, because clocks may differ by that much. Unknown means [ErrOutcomeUnknown], which
// also ends a call that runs out of time, or whose ctx ends, while the outcome is unknown.
// If the write was certainly not applied, the error is another one.
//
// A network may deliver a delayed write after all this. A delayed PutIfVersion fails on its
// version and is harmless. A delayed Put overwrites later writes, a delayed create
// re-creates a record that was deleted meanwhile, a delayed Delete removes a successor. A
// delayed batch whose later write met a record is applied once that record has gone and
// the first is as it was. A program that updates with PutIfVersion, and does not reuse a
// deleted task, is safe from all of this.
//
// # Servers that are replaced
//
// Connections may still lead to a demoted master, behind a forwarder or a name that now
// leads elsewhere. While the backend is used it asks for the server's role about once a
// second, on the connections of reads and of writes, and drops connections to a replica; a
// read after a pause asks in its own round trip. So a process that only reads notices
// within a few seconds, and Ping reports it at once. If only a replica can be reached,
// reads are retried like writes and end with an error that says so. A user or password
// that the server refuses is retried as well: it may be about to change.
//
// The clocks of a master and of the replica that takes its place must differ by less than
// 10 milliseconds; otherwise a write that was resent across the failover may mistake a
// successor for its record.
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
// leaves it open. It contacts no server yet. Nil opts mean the defaults.
//
// A client that cannot keep the contract gives an error that matches
// [ErrInvalidArgument]: no client, a Ring, a client that reads from replicas or
// from a cache in the process. A failover client made with ReplicaOnly cannot be
// told from others; its calls fail.
//
// Hooks of the client see every attempt. Leave retries to the backend: if a hook
// retries, a Put whose answer was lost is applied twice, and a PutIfVersion that won
// reports a conflict. The error of a circuit breaker, in a hook or as the client's
// Limiter, ends a call at once if it can be recognised, that is, if it says that a
// circuit is open. Any other error of a hook counts as a fault of the connection, and each
// call retries for about 20 seconds.
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
		AutoPipeline: b.opts.AutoPipeline, MinReplicas: b.opts.MinReplicas, ReplicaTimeout: b.opts.ReplicaTimeout, Resent: b.opts.Resent,
	})
	if err != nil {
		return nil, argument(err)
	}
	b.watch = newRedisWatch(b.link, b.keys)
	return b, nil
}

// String returns the type's name only: the owners of its watches may be personal data.
func (b *RedisBackend) String() string { return "RedisBackend" }

// GoString is String, so that %#v prints no owner either.
func (b *RedisBackend) GoString() string { return b.String() }

// Close ends the watches and, on a backend that OpenRedis made, closes the
// connections. Later calls give an error that matches [ErrClosed]. Close may be
// called again and then has no effect.
func (b *RedisBackend) Close() (err error) {
	b.closing.Do(func() {
		b.link.Shut() // first, so that a watch that ends sees that calls fail
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

// Now implements [Clock]. It returns the server's time, give or take half a round
// trip. While Now is in use, it asks the server every five seconds in the
// background; only the first call, and one after a pause, waits for the answer. In
// a Cluster it asks one node; keep the masters' clocks together, as for any Cluster.
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

// usable is checked first by every method.
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
		rec, ok, err = b.slowGet(ctx, key)
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

// errReplica explains READONLY.
var errReplica = errors.New("the server is a replica, which takes no writes and may lag behind; name its master, its Sentinels or its Cluster")

// tooLong is the caller's error for data that is longer than the server takes.
func tooLong(e *redislink.TooLongError) error {
	if e.Max > 0 {
		return &CapacityError{Limit: LimitData, Max: uint64(e.Max), Asked: uint64(e.Size)}
	}
	return fmt.Errorf("%w: %w", ErrCapacityExceeded, e)
}

// failure turns the error of a command into the one that the caller sees. verb
// names the operation.
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
