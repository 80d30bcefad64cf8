// Package pgstore keeps the records of package taskstore in PostgreSQL, version 14 or
// later. See [Backend].
//
// A program that imports the package can open a store by URL, see [taskstore.Open]:
//
//	postgres://user:password@host/database
//	postgres://user:password@host/database?migrate=true
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/taskstore/taskstore"
)

// A Backend keeps records in a schema of a PostgreSQL database. Any number of processes
// may share a schema. Backend implements [taskstore.StorageBackend], [taskstore.Pager],
// [taskstore.Batcher], [taskstore.Watcher], [taskstore.Clock], [taskstore.Pinger],
// [taskstore.OwnerLister] and [io.Closer].
//
// Each call runs one function of the schema in one round trip: an implicit transaction
// under READ COMMITTED, with an unnamed statement. So the backend works through a pooler in
// transaction mode, such as PgBouncer.
//
// # Resending
//
// If the server cannot answer, because a connection broke or the server restarts, a call
// retries for about 20 seconds or until its ctx ends. Every write carries an operation id,
// and a record keeps the ids of its last 8 writes. So the server recognises a resent write
// that was committed before its answer was lost: the write succeeds, and is applied once.
// The outcome of a resent write depends on whether its id is among those 8:
//
//	                  found      not found
//	Put               succeeds   is applied, perhaps again, over what others wrote
//	                             meanwhile
//	create            succeeds   is applied if there is no record, perhaps again;
//	                             conflicts with a record that existed before the
//	                             call; otherwise unknown
//	PutIfVersion      succeeds   is applied at the expected version; conflicts if
//	                             8 writes or fewer have been made since; otherwise
//	                             unknown. Always unknown if the record is gone or
//	                             did not exist before the call
//	PutBatch          succeeds   as its first write; unknown if another of its
//	                             writes is refused
//	Delete                       true if the record that existed before the call
//	                             is still there; otherwise unknown
//
// A record created less than 10 milliseconds before the call is treated as created after
// it, because the clocks of a server and of its successor may differ by that much. Unknown
// means [taskstore.ErrOutcomeUnknown]. A call also returns it if its ctx or its retry time
// ends while the outcome is unknown.
//
// The server may still execute the first copy of a write when the second is done, and apply
// it afterwards. The first copy of a PutIfVersion then fails on its version, which is
// harmless. A program that updates with PutIfVersion and does not reuse the name of a
// deleted task is safe from all these cases.
//
// # Expired records
//
// Expired records are invisible at once. A process that writes removes those of all owners
// about every ten seconds; CleanupExpired removes them immediately.
type Backend struct {
	pool      *pgxpool.Pool
	owned     bool
	addr      string
	opts      Options
	functions functions
	clock     clock
	sweeper   sweeper
	feed      *feed

	closing sync.Once
	ctx     context.Context // done when the backend is closed
	end     context.CancelFunc
}

var (
	_ taskstore.StorageBackend = (*Backend)(nil)
	_ taskstore.Pager          = (*Backend)(nil)
	_ taskstore.Batcher        = (*Backend)(nil)
	_ taskstore.Watcher        = (*Backend)(nil)
	_ taskstore.Clock          = (*Backend)(nil)
	_ taskstore.Pinger         = (*Backend)(nil)
	_ taskstore.OwnerLister    = (*Backend)(nil)
	_ io.Closer                = (*Backend)(nil)
)

// New returns a backend on a pool that the caller owns: Close leaves it open. New does not
// connect; if the schema is missing, the first call returns a [*taskstore.ConnectError].
// Nil opts mean the defaults.
//
// While a process watches, the backend takes one connection out of the pool for the
// watchers.
func New(pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	if pool == nil {
		return nil, &taskstore.ArgumentError{Argument: "pool", Reason: "it is nil; make one with pgxpool.New, or use Open"}
	}
	o, err := opts.complete()
	if err != nil {
		return nil, err
	}
	b := &Backend{pool: pool, addr: address(pool.Config().ConnConfig), opts: o, functions: newFunctions(o.Schema)}
	b.ctx, b.end = context.WithCancel(context.Background())
	b.feed = newFeed(b)
	return b, nil
}

// String returns the name of the type, because the contents may be personal.
func (b *Backend) String() string { return "pgstore.Backend" }

// GoString is String; it keeps owners and passwords out of %#v too.
func (b *Backend) GoString() string { return b.String() }

// Close ends the watches and all calls in progress and, on a backend that Open made, closes
// the connections. Later calls return an error that matches [taskstore.ErrClosed]. Closing
// again has no effect.
func (b *Backend) Close() error {
	b.closing.Do(func() {
		b.end()
		b.feed.close()
		b.sweeper.wait()
		if b.owned {
			b.pool.Close()
		}
	})
	return nil
}

func (b *Backend) closed() bool { return b.ctx.Err() != nil }

// usable returns the error of a call whose backend is closed or whose ctx is done.
func (b *Backend) usable(ctx context.Context) error {
	if b.closed() {
		return taskstore.ErrClosed
	}
	return ctx.Err()
}

// Ping implements [taskstore.Pinger]. It returns an error if the server is a standby.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	rows, err := b.ask(ctx, statement{text: "SELECT pg_is_in_recovery()"}, nil)
	if err == nil && decodeBool(rows[0][0]) {
		err = errStandby
	}
	if err != nil {
		return b.failure("ping", err)
	}
	return nil
}

// Get implements [taskstore.StorageBackend].
func (b *Backend) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if err := b.usable(ctx); err != nil {
		return taskstore.Record{}, err
	}
	if err := key.Validate(); err != nil {
		return taskstore.Record{}, err
	}
	rows, err := b.ask(ctx, b.functions.get, arguments{[]byte(key.Owner), []byte(key.Collection), []byte(key.Task)})
	switch {
	case err != nil:
		return taskstore.Record{}, b.failure("get", err)
	case len(rows) == 0:
		return taskstore.Record{}, taskstore.ErrNotFound
	}
	return record(key, rows[0]), nil
}

// record makes a record from the columns version, expiry and data.
func record(key taskstore.Key, columns [][]byte) taskstore.Record {
	r := taskstore.Record{Key: key, Version: taskstore.Version(decodeInt(columns[0]))}
	r.Data = columns[2]
	if columns[1] != nil {
		r.ExpiresAt = time.UnixMilli(decodeInt(columns[1])).UTC()
	}
	return r
}

// errStandby is the error of a server in recovery.
var errStandby = errors.New("the server is a standby, which takes no writes and may lag behind; name its primary, or several hosts with target_session_attrs=read-write")

// failure returns the error that the caller of verb gets for err.
func (b *Backend) failure(verb string, err error) error {
	var uncertain *uncertainError
	var missing *missingSchemaError
	switch {
	case errors.As(err, &uncertain):
		return fmt.Errorf("%w: %s: %w", taskstore.ErrOutcomeUnknown, verb, uncertain.cause)
	case errors.As(err, &missing):
		return b.unusable(missing.reason(b.opts.Schema), missing.err)
	case diskFull(err):
		return fmt.Errorf("%w: the server's disk is full: %w", taskstore.ErrCapacityExceeded, err)
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}

// unusable returns the error of a server that cannot be used as a store.
func (b *Backend) unusable(reason string, err error) error {
	return &taskstore.ConnectError{Store: storeName, Addr: b.addr, Reason: reason, Err: err}
}

const storeName = "PostgreSQL"
