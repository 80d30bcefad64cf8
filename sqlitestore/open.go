package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/taskstore/taskstore"
)

func init() {
	taskstore.Register("sqlite", func(ctx context.Context, rawURL string) (taskstore.StorageBackend, error) {
		path, err := pathOf(rawURL)
		if err != nil {
			return nil, err
		}
		b, err := Open(ctx, path, nil)
		if err != nil {
			return nil, err // b would make a non-nil interface
		}
		return b, nil
	})
}

// pathOf returns the path of sqlite:PATH or sqlite:///PATH as it stands, without
// unescaping.
func pathOf(rawURL string) (string, error) {
	_, path, _ := strings.Cut(rawURL, ":")
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			return "", &taskstore.ArgumentError{Argument: "store URL", Reason: "it names a host; write sqlite:PATH, or sqlite:///PATH from the root"}
		}
		path = rest
	}
	if strings.ContainsAny(path, "?#") {
		return "", &taskstore.ArgumentError{Argument: "store URL", Reason: "it has a ? or #; set options, and open such a path, by sqlitestore.Open"}
	}
	return path, nil
}

// Open opens the file at path, which is a path and not a DSN. It creates a missing file
// with mode 0600 and a missing directory with mode 0700. Nil opts mean the defaults. Beside
// the file are SQLite's files, -wal and -shm, and the locks by which processes take turns
// to write, -queue and -turn.
//
// An invalid path gives an error that matches [taskstore.ErrInvalidArgument]. A file that
// cannot be used gives a [*taskstore.ConnectError] and is left unchanged.
func Open(ctx context.Context, path string, opts *Options) (*Backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := validatePath(path); err != nil {
		return nil, err
	}
	b := &Backend{closed: make(chan struct{})}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.WatchInterval <= 0 {
		b.opts.WatchInterval = 50 * time.Millisecond
	}
	if why, err := b.open(ctx, path); why != "" || err != nil {
		if why == "" {
			why = reason(err)
		}
		return nil, &taskstore.ConnectError{Store: "SQLite", Addr: path, Reason: why, Err: cause(err)}
	}
	return b, nil
}

func validatePath(path string) error {
	reason := ""
	switch {
	case path == "":
		reason = "it is empty; for records that end with the process use taskstore.MemoryBackend"
	case strings.Contains(path, ":memory:"):
		reason = "connections do not share SQLite's own memory; for records that end with the process use taskstore.MemoryBackend"
	case strings.HasPrefix(path, "file:"):
		reason = "it is a URI; give a path"
	case strings.ContainsRune(path, 0):
		reason = "it has a zero byte"
	case os.IsPathSeparator(path[len(path)-1]):
		reason = "it ends with a separator: name a file in the directory"
	default:
		return nil
	}
	return &taskstore.ArgumentError{Argument: "path", Reason: reason}
}

// open opens all resources of a backend, or closes them again if one fails. why explains
// the error.
func (b *Backend) open(ctx context.Context, path string) (why string, err error) {
	b.file, err = create(path)
	switch {
	case errors.Is(err, errDangling):
		return "it is a link without a target: make the target, or remove the link", nil
	case err != nil:
		return "the file cannot be made: check the rights of its directory", err
	case b.file.info.IsDir():
		return "it is a directory: name a file in it", nil
	case !b.file.info.Mode().IsRegular(): // SQLite would make files beside it
		return "it is not a regular file: choose another path", nil
	}
	var opened []func() error
	defer func() {
		if why != "" || err != nil {
			for _, undo := range slices.Backward(opened) {
				_ = undo()
			}
		}
	}()
	handle := func(connections int, pragmas ...string) (*sql.DB, error) {
		connector, err := sqlite.NewConnector(b.dsn(pragmas...))
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		opened = append(opened, db.Close)
		return db, nil
	}
	wdb, err := handle(1)
	if err != nil {
		return "", err
	}
	b.w = &writer{file: b.file, db: wdb, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	err = whileBusy(ctx, func() (err error) {
		if b.w.conn == nil {
			if b.w.conn, err = wdb.Conn(ctx); err != nil {
				return err
			}
			opened = append(opened, b.w.conn.Close, b.w.tx.close)
		}
		if why, err = prepare(ctx, b.w.conn); why != "" || err != nil {
			return err
		}
		return b.w.tx.prepare(ctx, b.w.conn)
	})
	if why != "" || err != nil {
		return why, err
	}
	if b.w.turns, err = openTurns(b.file.path); err != nil {
		return "the lock files beside it cannot be opened: check their rights and those of the directory", err
	}
	opened = append(opened, b.w.turns.close)
	if b.read, err = handle(max(4, runtime.GOMAXPROCS(0)), "query_only(1)", "busy_timeout(60000)"); err != nil {
		return "", err
	}
	for _, s := range []struct {
		statement **sql.Stmt
		text      string
	}{{&b.get, getSQL}, {&b.list, listSQL}, {&b.match, matchSQL}, {&b.owners, ownersSQL}} {
		if *s.statement, err = b.read.PrepareContext(ctx, s.text); err != nil {
			return "", err
		}
	}
	fdb, err := handle(1, "query_only(1)", "busy_timeout(1000)")
	if err != nil {
		return "", err
	}
	b.feed = &feed{db: fdb, interval: b.opts.WatchInterval, kick: make(chan struct{}, 1)}
	b.w.wrote = b.feed.wrote
	go b.w.run()
	return "", nil
}

// create makes the file and its directory if they are missing. It does not open a file that
// exists: closing it again would drop the locks that SQLite holds in this process.
func create(path string) (file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return file{}, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return file{}, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return file{}, err
	}
	there := err != nil
	path, err = filepath.EvalSymlinks(path)
	switch {
	case there && errors.Is(err, fs.ErrNotExist):
		return file{}, errDangling
	case err != nil:
		return file{}, err
	}
	info, err := os.Stat(path)
	return file{path, info}, err
}

// errDangling is the cause if the path is a symbolic link whose target is missing.
var errDangling = errors.New("the target of the link is missing")

// cause strips the path from an error, because a ConnectError names it already.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// dsn returns the driver's name of the file.
func (b *Backend) dsn(pragmas ...string) string {
	path := filepath.ToSlash(b.file.path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/tasks.db
	}
	synchronous := "synchronous(FULL)"
	if b.opts.SynchronousNormal {
		synchronous = "synchronous(NORMAL)"
	}
	query := url.Values{"_pragma": append(pragmas, synchronous, "temp_store(MEMORY)", "journal_size_limit(67108864)", "trusted_schema(OFF)")}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// whileBusy retries f while another program holds the lock, until ctx ends.
func whileBusy(ctx context.Context, f func() error) error {
	var locked error
	for {
		err := f()
		switch {
		case busy(err):
			locked = err
		case err != nil && ctx.Err() != nil && locked != nil:
			return fmt.Errorf("%w: %w", err, locked)
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), locked)
		case <-time.After(time.Millisecond + rand.N(5*time.Millisecond)):
		}
	}
}

// prepare makes the file ready for records. If it fails, why explains the error.
func prepare(ctx context.Context, conn *sql.Conn) (why string, err error) {
	l, err := layoutOf(ctx, conn)
	if err != nil || l.refusal() != "" {
		return l.refusal(), err
	}
	if l.tables == 0 {
		if _, err := conn.ExecContext(ctx, "PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
			return "", err
		}
	}
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return "", err
	}
	if mode != "wal" {
		return "SQLite cannot keep a write-ahead log there: use a local disk", nil
	}
	return migrate(ctx, conn)
}
