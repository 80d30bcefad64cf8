package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/taskstore/taskstore"
)

// A FileError reports that the open file could not be read or written. The file is
// unchanged unless the error matches [taskstore.ErrOutcomeUnknown].
type FileError struct {
	Reason string // the problem and its remedy
	Err    error  // the cause, mostly a *sqlite.Error; may be nil
}

func (e *FileError) Error() string {
	s := "taskstore: SQLite file: " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// code returns SQLite's primary result code of err, 0 if err has no code.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func busy(err error) bool { return code(err) == sqlite3.SQLITE_BUSY }

// reason returns the cause of an SQLite error and its remedy.
func reason(err error) string {
	switch code(err) {
	case sqlite3.SQLITE_NOTADB:
		return "it is not an SQLite database: choose another path"
	case sqlite3.SQLITE_CORRUPT:
		return "it is damaged: restore it from a backup, or recover it with the sqlite3 shell"
	case sqlite3.SQLITE_FULL:
		return "there is no space left on its disk: make room and try again"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return "it cannot be opened for writing: check the rights of the file and of its directory"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "another program holds its lock: end that program's transaction"
	case sqlite3.SQLITE_TOOBIG:
		return "a row is too long"
	case sqlite3.SQLITE_IOERR:
		return "its disk fails"
	}
	return "SQLite failed"
}

// failed turns the error of a read into the error that the caller gets.
func (b *Backend) failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case b.usable(context.Background()) != nil:
		return taskstore.ErrClosed
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case ctx.Err() != nil:
		return err
	}
	return fileError(err)
}

// fileError turns an error of SQLite into an error of this package.
func fileError(err error) error {
	if done := (*FileError)(nil); code(err) == 0 || errors.As(err, &done) {
		return err
	}
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &taskstore.CorruptError{Reason: reason(err), Err: err}
	}
	return &FileError{Reason: reason(err), Err: err}
}
