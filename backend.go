// Package taskstore stores the tasks of MCP servers, or any small versioned
// records that belong to an owner, in a place that all replicas of a server share.
//
// A program is written against [StorageBackend]. This package has two backends:
// [MemoryBackend], the embedded default, keeps records in the process;
// [RedisBackend] keeps them in Redis, on one server, behind Sentinel or in a
// Cluster. Both keep the same contract. Package backendtest checks it sentence by
// sentence, for these and for any other backend.
//
// # Records
//
// A record is named by a [Key], a task of an owner, and holds a [Value]: bytes
// that are opaque to the backend, and an optional instant of expiry. A record
// carries a [Version], 1 when it is created and one more at every later write.
// Versions start again at 1 after a delete or an expiry, so a compare-and-swap
// cannot tell a record from a later one of the same key. Give every task a
// fresh random id to rule that out.
//
// # Owners
//
// Owners are isolated: a method reaches a record only through the exact owner
// that it was written with, and no byte of an owner or a task is special. A
// program that serves requests must take the owner from the authenticated
// caller, not from an argument of the request.
//
// An owner's records are in collections; the one with the empty name is the
// default. Collections are independent: a task, an order, a limit, a list and a
// watch each belong to one collection of one owner.
//
// # Time
//
// There is one clock, the backend's: the process's for memory, the server's for
// Redis. A record exists while that clock, in whole milliseconds, is not past
// its ExpiresAt. From then on it does not exist, for any method: Put and
// PutIfVersion create version 1, Delete reports false, lists omit it and limits
// do not count it. Use [Now] to compute an ExpiresAt; a replica whose own clock
// is wrong then still computes the right one.
//
// # Errors
//
// Tell errors apart with [errors.Is] and [errors.As], see [ErrNotFound] and its
// neighbours. Error texts hold no owner, task, data or password.
package taskstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"
)

// MaxKeyLength is the greatest length, in bytes, of an owner, of a collection and of a
// task.
const MaxKeyLength = 1024

// A Key names one record: Task, in a Collection of Owner. All are opaque byte strings,
// in any encoding, without special characters. Owner and Task must not be empty; an
// empty Collection is the default one.
//
// Collections of one owner keep records of several kinds apart, and one [Batcher] writes
// to all of them.
//
// An owner may be personal data, and the task id of an anonymous caller may be all that
// guards the task. So package fmt and logs print only the lengths of a Key's parts; print
// the fields to see them. JSON is data and holds them whole.
type Key struct{ Owner, Collection, Task string }

// String returns the lengths of the key's parts, not the parts.
func (k Key) String() string {
	if k.Collection != "" {
		return fmt.Sprintf("Key(owner of %d bytes, collection of %d bytes, task of %d bytes)", len(k.Owner), len(k.Collection), len(k.Task))
	}
	return fmt.Sprintf("Key(owner of %d bytes, task of %d bytes)", len(k.Owner), len(k.Task))
}

// GoString is String, so that %#v prints no owner either.
func (k Key) GoString() string { return k.String() }

// LogValue is String, so that structured logs hold no owner either.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// A Version numbers the successive states of one record: 1 when the record is
// created, one more at every later write, at most [MaxVersion]. Zero means "no
// record".
type Version uint64

// MaxVersion is the greatest version that a record can reach. A write beyond it
// is refused with [ErrCapacityExceeded].
const MaxVersion Version = 1<<63 - 1

// A Value is the caller's part of a record. Data is opaque to the backend.
type Value struct {
	// Data may hold any bytes. Nil and empty Data both read back empty.
	Data []byte
	// ExpiresAt is the last instant at which the record exists, in whole
	// milliseconds; a finer part is cut off. The zero Time means that the record does
	// not expire; any other must lie after the start of 1970 and before the year
	// 10000. It reads back in UTC.
	ExpiresAt time.Time
}

// A Record is a Value as stored.
type Record struct {
	Key     Key
	Version Version
	Value
}

// A StorageBackend stores records.
//
// These rules hold for every method:
//
//   - Methods may be called by any number of goroutines at once. Operations on
//     one key are linearizable. Redis has two exceptions: a failover to a replica
//     that lags can undo the latest writes, and a write whose answer was lost may be
//     applied again if it is a Put, or a create whose record has gone (see
//     [RedisBackend]).
//   - A method copies Data on the way in and on the way out: neither side sees
//     later changes of the other's slice, and the method does not read Data after
//     it has returned.
//   - A write replaces the whole Value: a zero ExpiresAt removes an earlier
//     expiry.
//   - An ExpiresAt that is past at the write, or in the millisecond of it, is legal.
//     The write succeeds and leaves no record: an existing one is gone. So limits do
//     not apply to it.
//   - A create that would give its collection of its owner more records than
//     [RecordLimit] of its ctx and the backend's own limit allow gives an error that
//     matches [ErrCapacityExceeded]. The count is exact under concurrent writers,
//     while the backend's clock does not step back. Updates go on.
//   - A call that fails has changed no record, unless its error matches
//     [ErrOutcomeUnknown].
//   - A ctx that is done gives an error that matches ctx.Err(), and the call does
//     not outlast it. Every other failure wraps its cause.
//   - An invalid key gives an error that matches [ErrInvalidKey], an ExpiresAt out
//     of range one that matches [ErrInvalidArgument]; neither reaches a server.
//   - A backend that is an [io.Closer] answers every call after Close with an error
//     that matches [ErrClosed]. Close may be called again and then has no effect.
//
// The interface has no method that lists owners or counts all records: the cost of
// serving one tenant should not grow with the number of the others. A power that only
// some backends have is an interface of its own: [Pager], [Batcher], [Watcher],
// [Clock], [Pinger], [OwnerLister] for operators, and [io.Closer] for those that hold
// resources.
type StorageBackend interface {
	// Get returns the record of key. If the record is absent, the error matches
	// [ErrNotFound].
	Get(ctx context.Context, key Key) (Record, error)

	// Put writes v whether or not the record exists and returns the version that
	// it made. It is for imports and for records with one writer: of two
	// concurrent calls the later wins, and the earlier is lost silently. Use
	// PutIfVersion to update a record that has several writers.
	Put(ctx context.Context, key Key, v Value) (Version, error)

	// PutIfVersion writes v if the record's version is expected, and returns
	// expected+1. With expected 0 it creates, and only creates. Otherwise the
	// error is a [*VersionConflictError]; it matches [ErrVersionConflict], and
	// [ErrNotFound] too if the record was absent. Of any number of concurrent
	// calls with one expected version at most one succeeds.
	PutIfVersion(ctx context.Context, key Key, v Value, expected Version) (Version, error)

	// Delete removes the record and reports whether there was one. An absent
	// record is not an error.
	Delete(ctx context.Context, key Key) (existed bool, err error)

	// ListByPrefix returns the records of exactly prefix.Owner and prefix.Collection
	// whose task starts with prefix.Task (all, if that is empty), in order of
	// creation, oldest first. No match is an empty list. A record that lived through
	// the whole call is in the list. Each key is in it once; if a record is deleted and
	// created again meanwhile, the list has the latest life that it met. The list is
	// not a snapshot of one instant. It holds all of a collection's records at once:
	// use [All] if there may be many.
	//
	// Records that cannot be read are left out. The error then matches [ErrCorrupt];
	// it is the errors.Join of one [*CorruptError] for each, which names the record,
	// and the list has all the other records. A CorruptError that names the collection
	// instead says that no record of it can be listed. With any other error there is no
	// list.
	ListByPrefix(ctx context.Context, prefix Key) ([]Record, error)

	// CleanupExpired reclaims the memory of expired records and returns how many
	// it removed in this call. It has no other observable effect, and calling it is
	// optional: backends reclaim memory by themselves. A backend that leaves the work to
	// its server returns 0.
	CleanupExpired(ctx context.Context) (removed int, err error)
}

// A Pager lists in bounded pages. [All] uses it if the backend has one.
type Pager interface {
	// ListPage returns records as ListByPrefix does, a page at a time. An empty
	// cursor starts the walk. Pass next, with the same prefix, to this or another
	// backend of the same store to continue it. Only an empty next ends the walk: a
	// page holds at most limit records and may hold fewer, even 0.
	//
	// A cursor stays valid while records come and go. A record that lives through
	// the whole walk is returned exactly once. A page holds each key once at most; a
	// record that is deleted and created again may be in several pages, once for each
	// of its lives.
	//
	// Records that cannot be read are left out and reported as by ListByPrefix: if the
	// error matches [ErrCorrupt], page has the other records and next continues the
	// walk behind them. With any other error, and if the collection cannot be listed,
	// there is neither page nor next.
	//
	// A limit below 1 gives an error that matches [ErrInvalidArgument]; a cursor
	// that is malformed or belongs to another prefix, [ErrInvalidCursor].
	ListPage(ctx context.Context, prefix Key, cursor string, limit int) (page []Record, next string, err error)
}

// A Watcher reports changes as they happen.
type Watcher interface {
	// Watch yields hints about the records that ListByPrefix would list. A
	// [Change] is a hint, Get is the truth: read the record that it names again.
	//
	// The first Change is always a Resync, yielded once the watch is in place: a
	// write that starts after it is hinted. Hints of one record may be merged into
	// the latest. A later Resync says that hints may have been lost (a reconnect, a
	// slow reader): read everything again. Expiry is not hinted; a caller that waits
	// for it sets a timer.
	//
	// The watch ends when the loop over it ends, or with an error: that of ctx when
	// it is done, [ErrClosed] when the backend is closed, or the failure that makes
	// watching impossible. A lost connection is not an error; the watch reconnects
	// and yields a Resync. The watch holds resources only while the loop runs.
	Watch(ctx context.Context, prefix Key) iter.Seq2[Change, error]
}

// A Change hints that a record changed.
type Change struct {
	// Key names the record. With Resync it is the prefix being watched.
	Key Key
	// Version is the record's version after the change, 0 if it is gone.
	Version Version
	// Resync says that any watched record may have changed.
	Resync bool
}

// ChangeOf returns the Change that a watcher of prefix gets when task has that version, 0 if
// it is gone. An empty task stands for all: it is a Resync. It is for implementations of
// [Watcher].
func ChangeOf(prefix Key, task string, version Version) Change {
	if task == "" {
		return Change{Key: prefix, Resync: true}
	}
	prefix.Task = task
	return Change{Key: prefix, Version: version}
}

// A Pinger tells whether its store can be reached.
type Pinger interface {
	Ping(ctx context.Context) error
}

// A Clock tells the backend's time, the one by which its records expire. [Now]
// uses it if the backend has one.
type Clock interface {
	// Now returns the backend's time. It need not ask a server each time; the
	// error is small against any sensible time to live.
	Now(ctx context.Context) (time.Time, error)
}

// Now returns the time by which the records of b expire: that of its [Clock], or
// the process's time if it has no Clock. Compute every ExpiresAt from it.
func Now(ctx context.Context, b StorageBackend) (time.Time, error) {
	if c, ok := As[Clock](b); ok {
		return c.Now(ctx)
	}
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// allPageSize is how many records All holds at a time.
const allPageSize = 500

// All yields the records that ListByPrefix would return. If b has a [Pager], All
// reads page by page, holds one page in memory, and may yield a key once for each of
// its lives. It holds no lock while it yields.
//
// It yields (record, nil), or (zero, err) and then stops. For a record that cannot be
// read it yields (zero, [*CorruptError]), which names the record, and continues with
// the next one if the loop does.
func All(ctx context.Context, b StorageBackend, prefix Key) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		pager, ok := As[Pager](b)
		if !ok {
			records, err := b.ListByPrefix(ctx, prefix)
			yieldAll(yield, records, err)
			return
		}
		for cursor := ""; ; {
			page, next, err := pager.ListPage(ctx, prefix, cursor, allPageSize)
			if !yieldAll(yield, page, err) || next == "" {
				return
			}
			cursor = next
		}
	}
}

// yieldAll yields the result of a list or a page and reports whether to go on.
func yieldAll(yield func(Record, error) bool, records []Record, err error) bool {
	if err != nil && !errors.Is(err, ErrCorrupt) {
		yield(Record{}, err)
		return false
	}
	for _, r := range records {
		if !yield(r, nil) {
			return false
		}
	}
	if err == nil {
		return true
	}
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		if !yield(Record{}, err) {
			return false
		}
	}
	return true
}

// As finds the first T among b and the backends that it wraps; T is usually one of
// the optional interfaces of this package. A decorator has the method
//
//	Unwrap() StorageBackend
//
// to keep the powers of the backend that it wraps. A decorator that must intercept a
// power (to rewrite keys, say) implements that power itself, or has no Unwrap.
func As[T any](b StorageBackend) (T, bool) {
	for b != nil {
		if t, ok := b.(T); ok {
			return t, true
		}
		u, ok := b.(interface{ Unwrap() StorageBackend })
		if !ok {
			break
		}
		b = u.Unwrap()
	}
	var zero T
	return zero, false
}
