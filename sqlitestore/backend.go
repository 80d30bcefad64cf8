// Package sqlitestore keeps the records of package taskstore in one SQLite file. Any
// number of processes of one host can have the file open at the same time.
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
// An acknowledged write is in the file: it survives a crash of the process and, unless
// Options.SynchronousNormal is set, a loss of power. The writers of all processes take
// turns, so each of them waits only briefly. The clock is the host's. The file must be on a
// local disk: network file systems break the locks that SQLite relies on.
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
	// MaxRecordsPerOwner limits the records in a collection of an owner. A create beyond
	// the limit returns an error that matches [taskstore.ErrCapacityExceeded]; updates
	// still succeed. 0 or less means no limit. A ctx from [taskstore.WithRecordLimit]
	// overrides it.
	MaxRecordsPerOwner int
	// MaxDataBytes limits the length of a record's Data. A longer one gives an error that
	// matches [taskstore.ErrCapacityExceeded]. The maximum is 900 MB, near SQLite's longest
	// row; it also applies if MaxDataBytes is 0 or less.
	MaxDataBytes int
	// SynchronousNormal skips the sync of each commit. Writes are several times faster,
	// but a loss of power or a crash of the operating system can undo the latest
	// acknowledged writes, all from some instant on. A crash of a process loses no write.
	// The file stays sound in any case.
	SynchronousNormal bool
	// WatchInterval is the interval at which a watcher polls for writes of other
	// processes, and so about the delay of their hints; writes of its own process are
	// hinted at once. A poll costs microseconds, and a process polls only while it
	// watches. 0 means 50 ms.
	WatchInterval time.Duration
}

// maxData leaves room for the rest of a row below SQLite's limit of 1,000,000,000 bytes.
const maxData = 900_000_000

// A Backend keeps records in an SQLite file. It implements [taskstore.StorageBackend],
// [taskstore.Pager], [taskstore.Batcher], [taskstore.Watcher], [taskstore.Clock],
// [taskstore.Pinger], [taskstore.OwnerLister] and [io.Closer].
//
// If ctx ends while a write waits for its turn, the write is withdrawn. If ctx ends after
// the write's transaction has begun, the error also matches [taskstore.ErrOutcomeUnknown].
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

// String returns the name of the type, without the path.
func (b *Backend) String() string { return "sqlitestore.Backend" }

// GoString is String; it keeps the path out of %#v too.
func (b *Backend) GoString() string { return b.String() }

// usable returns the error of a call whose backend is closed or whose ctx is done.
func (b *Backend) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return taskstore.ErrClosed
	default:
		return ctx.Err()
	}
}

// now returns the host's time, which decides about expiry in all processes that have the
// file open. A call takes it before it reads: a record that has not expired at that time
// existed during the call.
func now() int64 { return time.Now().UnixMilli() }

// Now implements [taskstore.Clock]. It returns the host's time.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	if err := b.usable(ctx); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// Ping implements [taskstore.Pinger]. It reads the file, and returns an error if the path
// is gone or now names another file.
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

// expiryTime is the inverse of expiryMillis.
func expiryTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// expiryMillis returns the expiry of a valid value in Unix milliseconds, 0 if it has no
// expiry.
func expiryMillis(v taskstore.Value) int64 {
	if v.ExpiresAt.IsZero() {
		return 0
	}
	return v.ExpiresAt.UnixMilli()
}

// Close ends the watches, waits for the current transaction and closes the file. Writes
// that still wait for their turn are not made. Later calls return an error that matches
// [taskstore.ErrClosed]; closing again has no effect.
func (b *Backend) Close() error {
	b.closeOnce.Do(func() {
		close(b.closed)
		b.closeErr = errors.Join(b.feed.close(), b.w.close(), b.read.Close())
	})
	return b.closeErr
}

// A file identifies the file that a path named when it was opened.
type file struct {
	path string // absolute, without symbolic links
	info os.FileInfo
}

// same returns an error if the path names another file by now: a later Open would not find
// the records that are written.
func (f file) same() error {
	info, err := os.Stat(f.path)
	if err == nil && os.SameFile(info, f.info) {
		return nil
	}
	return &FileError{Reason: "the file was removed, moved or replaced while it was open: put it back, or open the new one", Err: err}
}
