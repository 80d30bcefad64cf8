package sqlitestore

import (
	"context"
	"database/sql"
	"iter"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/hub"
)

// Watch implements [taskstore.Watcher]. Writes of this backend are hinted at once. Writes
// of other processes, and of other backends in this process, are hinted within
// Options.WatchInterval.
func (b *Backend) Watch(ctx context.Context, prefix taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		err := b.usable(ctx)
		if err == nil {
			err = prefix.ValidatePrefix()
		}
		if err != nil {
			yield(taskstore.Change{}, err)
			return
		}
		w := b.feed.hub.Join(hub.Scope{Owner: prefix.Owner, Collection: prefix.Collection}, prefix.Task)
		defer b.feed.hub.Leave(w)
		if err := b.feed.join(ctx); err != nil {
			yield(taskstore.Change{}, b.failed(ctx, err))
			return
		}
		defer b.feed.leave()
		w.Lost()
		w.Run(ctx, func(h hub.Hint, err error) bool {
			if err != nil {
				return yield(taskstore.Change{}, err)
			}
			return yield(taskstore.ChangeOf(prefix, h.Task, taskstore.Version(h.Version)), nil)
		})
	}
}

// A feed reads the writes of all processes from the table change and gives them to the
// watchers as hints. It polls only while there are watchers: at once after a commit of its
// own backend, and at every interval if data_version shows a commit of another connection.
type feed struct {
	hub      hub.Hub
	db       *sql.DB
	interval time.Duration
	kick     chan struct{} // holds one

	mu       sync.Mutex
	watchers int
	shut     bool
	stop     context.CancelFunc
	ended    chan struct{}
}

const (
	lookSQL = `PRAGMA data_version`
	readSQL = `SELECT id, owner, collection, task, version FROM change WHERE id > ? ORDER BY id LIMIT 1000`
)

// join makes the feed poll for one more watcher. Every write after join returns is hinted.
func (f *feed) join(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shut {
		return taskstore.ErrClosed
	}
	if f.watchers == 0 || f.failed() {
		if err := f.start(ctx); err != nil {
			return err
		}
	}
	f.watchers++
	return nil
}

// failed reports whether polling ended while there were watchers. f.mu is held.
func (f *feed) failed() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// leave undoes join.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers--
	if f.watchers == 0 {
		f.stop()
		<-f.ended
	}
}

func (f *feed) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut = true
	f.hub.FailAll(taskstore.ErrClosed)
	if f.watchers > 0 {
		f.stop()
		<-f.ended
	}
	return f.db.Close()
}

// start starts the polling. f.mu is held.
func (f *feed) start(ctx context.Context) error {
	conn, err := f.db.Conn(ctx)
	if err != nil {
		return err
	}
	l := look{conn: conn, hub: &f.hub}
	if err := l.prepare(ctx); err != nil {
		l.close()
		return err
	}
	running, stop := context.WithCancel(background)
	f.stop, f.ended = stop, make(chan struct{})
	go func(ended chan<- struct{}) {
		err := l.run(running, f.interval, f.kick)
		stop()
		l.close()
		close(ended)
		if err != nil { // after close, so that the next join starts anew
			f.hub.FailAll(err)
		}
	}(f.ended)
	return nil
}

// wrote tells the feed of a commit of its own backend.
func (f *feed) wrote() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// A look is the state of the polling from start to stop.
type look struct {
	conn          *sql.Conn
	version, read *sql.Stmt
	hub           *hub.Hub
	seen          int64 // data_version
	position      int64 // the latest id that was read
	late          bool  // there may be unread writes
}

func (l *look) prepare(ctx context.Context) (err error) {
	if l.version, err = l.conn.PrepareContext(ctx, lookSQL); err != nil {
		return err
	}
	if l.read, err = l.conn.PrepareContext(ctx, readSQL); err != nil {
		return err
	}
	if err = l.changed(); err != nil {
		return err
	}
	return l.conn.QueryRowContext(ctx, latestSQL).Scan(&l.position)
}

func (l *look) close() {
	for _, s := range []*sql.Stmt{l.version, l.read} {
		if s != nil {
			_ = s.Close()
		}
	}
	_ = l.conn.Close()
}

// run polls until ctx is done or the file cannot be read. Its error ends the watches.
func (l *look) run(ctx context.Context, interval time.Duration, kick <-chan struct{}) error {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-kick:
			l.late = true
		case <-ticks.C:
			err = l.changed()
		}
		if err == nil && l.late {
			err = l.hint()
		}
		if err != nil && !busy(err) {
			return fileError(err)
		}
	}
}

// changed sets late if another connection has committed since the previous call.
func (l *look) changed() error {
	before := l.seen
	err := l.version.QueryRowContext(background).Scan(&l.seen)
	l.late = l.late || l.seen != before
	return err
}

// hint gives the watchers all writes since the previous call.
func (l *look) hint() error {
	for {
		n, err := l.some()
		if err != nil {
			return err
		}
		if n == 0 {
			l.late = false
			return nil
		}
	}
}

// some gives the watchers the next few writes and returns their number.
func (l *look) some() (n int, err error) {
	rows, err := l.read.QueryContext(background, l.position)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, version int64
		var owner, collection, task []byte
		if err := rows.Scan(&id, &owner, &collection, &task, &version); err != nil {
			return n, err
		}
		if id != l.position+1 { // the writes in between were removed
			l.hub.ResyncAll()
		}
		l.hub.Hint(hub.Scope{Owner: string(owner), Collection: string(collection)}, string(task), uint64(version))
		l.position = id
		n++
	}
	return n, rows.Err()
}
