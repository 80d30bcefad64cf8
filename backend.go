// Package taskstore keeps the tasks of MCP servers, or any small versioned
// records that belong to an owner, where every replica of a server finds them.
//
// A program is written against [StorageBackend] and is handed one of the two
// backends: [MemoryBackend], the embedded default, keeps records in the
// process; [RedisBackend] keeps them in Redis, on one server, behind Sentinel
// or in a Cluster. Both keep the same contract, which package backendtest
// checks sentence by sentence for these and for any other backend.
//
// # Records
//
// A record is named by a [Key], a task of an owner, and holds a [Value]: bytes
// that no backend looks into and an optional instant of expiry. A record
// carries a [Version], 1 when it is created and one more at every later write.
// Versions start again at 1 after a delete or an expiry, so a compare-and-swap
// cannot tell a record from a later one of the same key. Give every task a
// fresh random id and the question never arises.
//
// # Owners
//
// Owners are isolated: no method reaches a record except through the exact
// owner that it was written with, and no byte of an owner or a task is special.
// A program that takes an owner from a request must take it from the authenticated
// caller, never from an argument.
//
// An owner's records are in collections, of which the one with the empty name is the
// default. Records in different collections never meet: a task, an order, a limit, a
// list and a watch each belong to one collection of one owner.
//
// # Time
//
// There is one clock, the backend's: the process's for memory, the server's for
// Redis. A record exists while that clock, in whole milliseconds, is not past
// its ExpiresAt. From then on it does not exist, for any method: Put and
// PutIfVersion create version 1, Delete reports false, no list shows it and no
// limit counts it. Use [Now] to compute an ExpiresAt; a replica whose own clock
// is wrong then still computes the right one.
//
// # Errors
//
// Every error is to be told apart with [errors.Is] and [errors.As], see
// [ErrNotFound] and its neighbours. No error text holds an owner, a task, data
// or a password.
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

// A Key names one record: Task, in a Collection of Owner. All are opaque byte strings in
// which no character is special; they need not be UTF-8. Owner and Task are not empty; an
// empty Collection is the default one.
//
// Collections of one owner keep records of several kinds apart, and one [Batcher] writes
// to all of them.
//
// Owners may be personal and the task id of an anonymous caller may be all that
// guards the task, so package fmt and logs print of a Key the lengths of its parts
// only. Print the fields where that is wanted. JSON is data and has them whole.
type Key struct{ Owner, Collection, Task string }

// String tells the lengths of the key's parts, not the parts.
func (k Key) String() string {
	if k.Collection != "" {
		return fmt.Sprintf("Key(owner of %d bytes, collection of %d bytes, task of %d bytes)", len(k.Owner), len(k.Collection), len(k.Task))
	}
	return fmt.Sprintf("Key(owner of %d bytes, task of %d bytes)", len(k.Owner), len(k.Task))
}

// GoString is String; it keeps owners out of %#v too.
func (k Key) GoString() string { return k.String() }

// LogValue is String; it keeps owners out of structured logs too.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// A Version numbers the successive states of one record: 1 when the record is
// created, one more at every later write, at most [MaxVersion]. Zero means "no
// record".
type Version uint64

// MaxVersion is the greatest version that a record can reach. A write beyond it
// is refused with [ErrCapacityExceeded].
const MaxVersion Version = 1<<63 - 1

// A Value is what a caller stores. Backends never look inside Data.
type Value struct {
	// Data may hold any bytes. Nil and empty Data both read back empty.
	Data []byte
	// ExpiresAt is the last instant at which the record exists, in whole
	// milliseconds (what is finer is cut off). The zero Time means never; any
	// other must lie after the start of 1970 and before the year 10000. It reads
	// back in UTC.
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
//     one key are linearizable, on Redis as long as the server keeps its data (a
//     failover to a replica that lags can undo the latest writes), but for what
//     [RedisBackend] says of writes whose answers were lost: a Put, or a create
//     whose record has gone, may be applied again.
//   - A method copies Data on the way in and on the way out: neither side sees
//     what the other does to its slice afterwards, and Data is not read after
//     the method has returned.
//   - A write replaces the whole Value: a zero ExpiresAt takes away an earlier
//     expiry.
//   - An ExpiresAt that is past at the write, or in the millisecond of it, is legal.
//     The write succeeds, an existing record is gone, and nothing is left behind;
//     so no limit stands in its way.
//   - A create that would give its collection of its owner more records than [RecordLimit] of its ctx
//     and the backend's own limit allow gives an error that matches
//     [ErrCapacityExceeded]. The count is exact, whoever else writes, while the
//     backend's clock does not step back. Updates go on.
//   - A call that fails changes nothing, unless its error matches
//     [ErrOutcomeUnknown].
//   - A ctx that is done gives an error that matches ctx.Err(), and the call does
//     not outlast it. Every other failure wraps its cause.
//   - An invalid key gives an error that matches [ErrInvalidKey], an ExpiresAt out
//     of range one that matches [ErrInvalidArgument]; neither reaches a server.
//   - A backend that is an [io.Closer] answers every call after Close with an error
//     that matches [ErrClosed]. Closing it again does nothing.
//
// There is no method that lists owners or counts all records: nothing that a
// server does for one tenant should cost by the number of the others. What only
// some backends can do is an interface of its own: [Pager], [Batcher], [Watcher],
// [Clock], [Pinger], [OwnerLister] for operators, and [io.Closer] for those that hold
// resources.
type StorageBackend interface {
	// Get returns the record of key. Where there is none the error matches
	// [ErrNotFound].
	Get(ctx context.Context, key Key) (Record, error)

	// Put writes v whether or not the record exists and returns the version that
	// it made. It is for imports and for records with one writer: of two
	// concurrent calls the later wins and the earlier is lost without a word.
	// Use PutIfVersion to update what others may update.
	Put(ctx context.Context, key Key, v Value) (Version, error)

	// PutIfVersion writes v if the record's version is expected, and returns
	// expected+1. With expected 0 it creates, and only creates. Otherwise the
	// error is a [*VersionConflictError]; it matches [ErrVersionConflict], and
	// [ErrNotFound] too where there was no record. Of any number of concurrent
	// calls with one expected version at most one succeeds.
	PutIfVersion(ctx context.Context, key Key, v Value, expected Version) (Version, error)

	// Delete removes the record and reports whether there was one. A record that
	// is not there is no error.
	Delete(ctx context.Context, key Key) (existed bool, err error)

	// ListByPrefix returns the records of exactly prefix.Owner and prefix.Collection
	// whose task starts with prefix.Task (all, where that is empty), in order of creation, oldest
	// first. No match is an empty list. A record that lived through the whole call
	// is in the list. No key is in it twice: of one that is deleted and created again
	// meanwhile it has the latest life that it met. The list is not a snapshot of one
	// instant. It holds all of a collection's records at once: use [All] where there may
	// be many.
	//
	// Records that cannot be read are left out. The error then matches [ErrCorrupt],
	// and the list is what it would be without them: errors.Join of a [*CorruptError],
	// which names the record, for each. Where it names none, but the collection, nothing can
	// be listed. With any other error there is no list.
	ListByPrefix(ctx context.Context, prefix Key) ([]Record, error)

	// CleanupExpired reclaims the memory of expired records and returns how many
	// it removed in this call. Nothing else that can be observed depends on it,
	// and nobody has to call it: backends reclaim by themselves. A backend that
	// leaves the work to its server returns 0.
	CleanupExpired(ctx context.Context) (removed int, err error)
}

// A Pager lists in bounded pages. [All] uses it where there is one.
type Pager interface {
	// ListPage returns records as ListByPrefix does, a page at a time. An empty
	// cursor starts; next continues, with the same prefix, on this or another
	// backend of the same store; an empty next ends the walk, and nothing else
	// does: a page holds at most limit records and may hold fewer, even none.
	//
	// A cursor stays valid while records come and go. A record that lives through
	// the whole walk is returned exactly once. No key is twice in one page; one that is
	// deleted and created again may be in several pages, once for each of its lives.
	//
	// Records that cannot be read are left out and told as ListByPrefix tells them:
	// where the error matches [ErrCorrupt], page and next are what they would be
	// without them, so go on with next to list the rest. With any other error, and where
	// nothing can be listed, there is neither page nor next.
	//
	// A limit below 1 gives an error that matches [ErrInvalidArgument]; a cursor
	// that is malformed or belongs to another prefix, [ErrInvalidCursor].
	ListPage(ctx context.Context, prefix Key, cursor string, limit int) (page []Record, next string, err error)
}

// A Watcher reports changes as they happen.
type Watcher interface {
	// Watch yields hints about the records that ListByPrefix would list. A
	// [Change] is a hint, Get is the truth: look again at the record that it
	// names.
	//
	// The first Change is always a Resync, yielded once the watch is in place: a
	// write that starts after it is hinted. Hints of one record may be merged into
	// the latest. A Resync that comes later says that hints may have been lost (a
	// reconnect, a slow reader): look at everything again. Expiry is not hinted:
	// who waits for it sets a timer.
	//
	// The watch ends when the loop over it ends, or with an error: that of ctx
	// when it is done, [ErrClosed] when the backend is closed, or what makes
	// watching impossible. A lost connection is not an error; the watch reconnects
	// and says Resync. Nothing of it is left when the loop has ended, and nothing
	// exists before the loop starts.
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

// A Pinger tells whether its store can be reached.
type Pinger interface {
	Ping(ctx context.Context) error
}

// A Clock tells the backend's time, the one by which its records expire. [Now]
// uses it where there is one.
type Clock interface {
	// Now returns the backend's time. It need not ask a server each time; the
	// error is small against any sensible time to live.
	Now(ctx context.Context) (time.Time, error)
}

// Now returns the time by which the records of b expire: that of its [Clock], or
// the process's time where it has none. Compute every ExpiresAt from it.
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

// All yields the records that ListByPrefix would return. Where b has a [Pager] it
// reads page by page, holds one page in memory, and may yield a key once for each of
// its lives. No lock is held while it yields.
//
// It yields (record, nil), or (zero, err) and then stops. Where a record cannot be read
// it yields (zero, [*CorruptError]), which names it, and goes on behind it if the loop
// does.
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

// yieldAll yields what a list or a page returned and reports whether to go on.
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

// As finds the first of b and the backends that it wraps which is a T, usually
// one of the optional interfaces of this package. A decorator has the method
//
//	Unwrap() StorageBackend
//
// to keep the powers of what it wraps. One that must stand in front of a power
// (to rewrite keys, say) implements that power itself, or has no Unwrap.
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
