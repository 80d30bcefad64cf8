package pgstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/hub"
)

const (
	// leastPause is the least pause between two polls.
	leastPause = 5 * time.Millisecond
	// changesLast is the greatest age of the latest poll at which the next one is sure to
	// find all changes since; the sweeper keeps changes for longer.
	changesLast = 30 * time.Second
	// manyScopes is the number of watched scopes from which a poll asks for the changes of
	// all scopes.
	manyScopes = 100
	// pollTimeout limits a poll, to leave a server that hangs.
	pollTimeout = 10 * time.Second
)

// A digest stands for a scope in the table of changes.
type digest [16]byte

// A feed polls changes for the watchers of a backend while there are any.
type feed struct {
	b        *Backend
	hub      hub.Hub
	watching atomic.Bool
	wake     chan struct{} // holds a token when the next poll is due at once

	mu     sync.Mutex
	scopes map[digest]*watched
	loop   chan struct{}      // closed when the loop has ended; nil: no loop
	end    context.CancelFunc // of the loop
}

// watched is a scope that has watchers.
type watched struct {
	scope hub.Scope
	fresh []*hub.Watcher // wait for the first poll that asks for their scope
}

func newFeed(b *Backend) *feed {
	return &feed{b: b, wake: make(chan struct{}, 1), scopes: make(map[digest]*watched)}
}

// join adds a watcher. The watcher yields its first Resync after a poll that began after
// join; the next poll finds all later writes.
func (f *feed) join(prefix taskstore.Key) *hub.Watcher {
	id := digest(watchOf(prefix))
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.hub.Join(scopeOf(prefix), prefix.Task)
	s := f.scopes[id]
	if s == nil {
		s = &watched{scope: w.Scope}
		f.scopes[id] = s
	}
	s.fresh = append(s.fresh, w)
	if f.loop == nil && !f.b.closed() {
		ctx, cancel := context.WithCancel(f.b.ctx)
		f.loop, f.end = make(chan struct{}), cancel
		f.watching.Store(true)
		go f.run(ctx, f.loop)
	}
	f.poke()
	if f.b.closed() {
		f.hub.Fail(w.Scope, taskstore.ErrClosed)
	}
	return w
}

// leave removes a watcher. For the last watcher it ends the loop and waits for it.
func (f *feed) leave(w *hub.Watcher) {
	f.mu.Lock()
	if f.hub.Leave(w) {
		delete(f.scopes, digest(watchOf(taskstore.Key{Owner: w.Owner, Collection: w.Collection})))
	}
	loop := f.loop
	if len(f.scopes) > 0 || loop == nil {
		f.mu.Unlock()
		return
	}
	f.end()
	f.loop = nil
	f.watching.Store(false)
	f.mu.Unlock()
	<-loop
}

// close ends the watches.
func (f *feed) close() {
	f.mu.Lock()
	for _, s := range f.scopes {
		f.hub.Fail(s.scope, taskstore.ErrClosed)
	}
	loop := f.loop
	f.mu.Unlock()
	if loop != nil {
		<-loop
	}
}

// wrote makes the next poll due at once.
func (f *feed) wrote() {
	if f.watching.Load() {
		f.poke()
	}
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run polls until ctx is done. A poll that fails loses only its connection: the next poll
// resyncs all watchers.
func (f *feed) run(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	for failures := 0; ctx.Err() == nil; failures++ {
		began := time.Now()
		err := f.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if classify(err) == refused {
			f.fail(err)
		}
		if time.Since(began) > time.Second {
			failures = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(min(minPause<<min(failures, 8), maxPause))):
		}
	}
}

// fail ends all watches.
func (f *feed) fail(err error) {
	err = f.b.failure("watch", redact(err))
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.scopes {
		f.hub.Fail(s.scope, err)
	}
}

// serve polls on one connection until the connection fails.
func (f *feed) serve(ctx context.Context) error {
	lent, err := f.b.pool.Acquire(ctx)
	if err != nil {
		return &unsentError{err}
	}
	conn := lent.Hijack() // leaves the whole pool to calls
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if f.b.opts.Notify {
		if err := f.listen(ctx, conn); err != nil {
			return err
		}
	}
	p := poller{f: f, conn: conn.PgConn()}
	for {
		if err := p.poll(ctx); err != nil {
			return err
		}
		if err := f.pause(ctx, conn); err != nil {
			return err
		}
	}
}

// listen asks for notifications.
func (f *feed) listen(ctx context.Context, conn *pgx.Conn) error {
	r, err := execOn(ctx, conn.PgConn(), f.b.functions.channel, arguments{f.b.channelTable()})
	if err != nil {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, "LISTEN "+pgx.Identifier{string(r[0][0])}.Sanitize()).ReadAll()
	return err
}

// channelTable returns the table after which the channel of notifications is named.
func (b *Backend) channelTable() []byte {
	return []byte(pgx.Identifier{b.opts.Schema, "change"}.Sanitize())
}

// pause returns when the next poll is due: after a write, a notification or the interval,
// whichever comes first.
func (f *feed) pause(ctx context.Context, conn *pgx.Conn) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(leastPause):
	}
	wait, cancel := context.WithTimeout(ctx, f.b.opts.PollInterval)
	defer cancel()
	if !f.b.opts.Notify {
		select {
		case <-wait.Done():
		case <-f.wake:
		}
		return ctx.Err()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-f.wake:
			cancel()
		case <-wait.Done():
		}
	}()
	err := conn.PgConn().WaitForNotification(wait)
	over := wait.Err() != nil
	cancel()
	<-done
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !over:
		return err
	}
	return nil
}

// A poller polls on one connection.
type poller struct {
	f     *feed
	conn  *pgconn.PgConn
	since []byte    // the position of the latest poll
	epoch string    // of its server
	at    time.Time // its begin
}

// poll asks for the changes since the latest poll.
func (p *poller) poll(ctx context.Context) error {
	f := p.f
	f.mu.Lock()
	var ids [][]byte
	var fresh []*hub.Watcher
	for id, s := range f.scopes {
		if len(f.scopes) < manyScopes {
			ids = append(ids, id[:])
		}
		fresh = append(fresh, s.fresh...)
		s.fresh = nil
	}
	f.mu.Unlock()
	var watches []byte // null: all scopes
	if ids != nil {
		watches = encodeArray(uuidOID, ids)
	}
	if p.since != nil && time.Since(p.at) > changesLast {
		p.since = nil
	}
	at := time.Now()
	limited, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	r, err := execOn(limited, p.conn, f.b.functions.poll, arguments{p.since, watches})
	if err != nil {
		return err // the next connection's first poll is for the fresh ones too
	}
	epoch := string(r[0][4])
	complete := p.since != nil && epoch == p.epoch
	p.since, p.epoch, p.at = r[0][3], epoch, at
	f.mu.Lock()
	defer f.mu.Unlock()
	if !complete {
		for _, s := range f.scopes {
			f.hub.Resync(s.scope)
		}
		return nil
	}
	for _, w := range fresh {
		w.Lost()
	}
	for _, columns := range r {
		if columns[0] == nil {
			continue
		}
		if s := f.scopes[digest(columns[0])]; s != nil {
			f.hub.Hint(s.scope, string(columns[2]), uint64(decodeInt(columns[1])))
		}
	}
	return nil
}
