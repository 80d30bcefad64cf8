// Package sqlitestore keeps the records of package taskstore in one SQLite file, which
// any number of processes of one host open at once.
//
//	b, err := sqlitestore.Open(ctx, "tasks.db", nil)
//
// A program that imports the package for its side effect opens it by URL:
//
//	import _ "github.com/taskstore/taskstore/sqlitestore"
//
//	b, err := taskstore.Open(ctx, "sqlite:tasks.db")
//
// The driver is modernc.org/sqlite: pure Go, without cgo.
//
// A write that was acknowledged is in the file: it survives a crash of the process and,
// unless Options.SynchronousNormal says otherwise, the loss of power. Writers of all
// processes take turns, so none waits for long. The clock is the host's. The file must be
// on a local disk: network file systems break the locks that SQLite relies on.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// Options adjusts a Backend. The zero value means the defaults.
type Options struct {
	// MaxRecordsPerOwner is how many records a collection of an owner may have. A create
	// beyond it gives an error that matches [taskstore.ErrCapacityExceeded]; updates go on.
	// 0 or less: no limit. A ctx from [taskstore.WithRecordLimit] takes its place.
	MaxRecordsPerOwner int
	// MaxDataBytes is how long a record's Data may be. A longer one gives an error that
	// matches [taskstore.ErrCapacityExceeded]. 0 or less, and at most: 900 MB, near the
	// longest row of SQLite.
	MaxDataBytes int
	// SynchronousNormal leaves out the sync of each commit. Writes are several times
	// faster, and a loss of power or a crash of the operating system can undo the latest
	// of those that were acknowledged, all from some instant on. A crash of a process
	// loses none. The file stays sound in any case.
	SynchronousNormal bool
	// WatchInterval is how often a watcher looks for the writes of other processes, and
	// so about how late it hints them; those of its own process it hints at once. A look
	// costs microseconds, and a process looks only while it watches. 0 means 50 ms.
	WatchInterval time.Duration
}

// maxData leaves room for the rest of a row below SQLite's limit of 1,000,000,000 bytes.
const maxData = 900_000_000

// A Backend keeps records in an SQLite file. It implements [taskstore.StorageBackend],
// [taskstore.Pager], [taskstore.Batcher], [taskstore.Watcher], [taskstore.Clock],
// [taskstore.Pinger], [taskstore.OwnerLister] and [io.Closer].
//
// A ctx that ends while a write waits for its turn withdraws the write. Once its
// transaction has begun the error matches [taskstore.ErrOutcomeUnknown] too.
type Backend struct {
	opts   Options
	file   file
	read   *sql.DB
	get    *sql.Stmt
	list   *sql.Stmt
	match  *sql.Stmt
	owners *sql.Stmt
	w      *writer
	feed   *feed

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}
}

var (
	_ taskstore.StorageBackend = (*Backend)(nil)
	_ taskstore.Pager          = (*Backend)(nil)
	_ taskstore.Batcher        = (*Backend)(nil)
	_ taskstore.Watcher        = (*Backend)(nil)
	_ taskstore.Clock          = (*Backend)(nil)
	_ taskstore.Pinger         = (*Backend)(nil)
	_ taskstore.OwnerLister    = (*Backend)(nil)
)

// String says what it is, and no more.
func (b *Backend) String() string { return "sqlitestore.Backend" }

// GoString is String; it keeps paths out of %#v too.
func (b *Backend) GoString() string { return b.String() }

// usable returns the error of a call that comes too late.
func (b *Backend) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return taskstore.ErrClosed
	default:
		return ctx.Err()
	}
}

// now is the host's time, by which all processes that have the file open judge. A call
// takes it before it reads: a record that has not expired then did exist during the call.
func now() int64 { return time.Now().UnixMilli() }

// Now implements [taskstore.Clock]: it is the host's time.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	if err := b.usable(ctx); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// Ping implements [taskstore.Pinger]. It reads the file, and gives an error where the
// path now names another file or none.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := b.file.same(); err != nil {
		return err
	}
	var version int
	return b.failed(ctx, b.read.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version))
}

const getSQL = `SELECT version, expires, data FROM record
	WHERE scope = (SELECT id FROM scope WHERE owner = ? AND collection = ?) AND task = ?
	AND (expires = 0 OR expires >= ?)`

// Get implements [taskstore.StorageBackend].
func (b *Backend) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if err := b.usable(ctx); err != nil {
		return taskstore.Record{}, err
	}
	if err := key.Validate(); err != nil {
		return taskstore.Record{}, err
	}
	r := taskstore.Record{Key: key}
	var version, expires int64
	err := b.get.QueryRowContext(ctx, []byte(key.Owner), []byte(key.Collection), []byte(key.Task), now()).
		Scan(&version, &expires, &r.Data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return taskstore.Record{}, taskstore.ErrNotFound
	case err != nil:
		return taskstore.Record{}, b.failed(ctx, err)
	}
	r.Version, r.ExpiresAt = taskstore.Version(version), expiryTime(expires)
	return r, nil
}

// expiryTime is the way back of expiryMillis.
func expiryTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// expiryMillis returns the expiry of a valid value in Unix milliseconds, 0 for none.
func expiryMillis(v taskstore.Value) int64 {
	if v.ExpiresAt.IsZero() {
		return 0
	}
	return v.ExpiresAt.UnixMilli()
}

// Close ends the watches, lets the transaction under way end and closes the file. Writes
// that wait for their turn are not made. Calls that come later give an error that matches
// [taskstore.ErrClosed]; closing again does nothing more.
func (b *Backend) Close() error {
	b.closeOnce.Do(func() {
		close(b.closed)
		b.closeErr = errors.Join(b.feed.close(), b.w.close(), b.read.Close())
	})
	return b.closeErr
}

// A file is what a path named when it was opened.
type file struct {
	path string // absolute, without symbolic links
	info os.FileInfo
}

// same returns an error where the path names another file by now: what is written goes
// nowhere that a later Open would find.
func (f file) same() error {
	info, err := os.Stat(f.path)
	if err == nil && os.SameFile(info, f.info) {
		return nil
	}
	return &FileError{Reason: "the file was removed, moved or replaced while it was open: put it back, or open the new one", Err: err}
}
