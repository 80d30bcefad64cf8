package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/taskstore/taskstore"
)

// A writer makes the writes of a backend, one transaction after the other on one
// goroutine. Requests that wait when its turn comes share a transaction, and so its sync.
type writer struct {
	file  file
	db    *sql.DB
	conn  *sql.Conn
	tx    tx
	turns *turns
	wrote func() // called after each commit

	mu      sync.Mutex
	pending []*request
	shut    bool
	wake    chan struct{} // holds one token
	ended   chan struct{}
	locked  atomic.Bool // another program holds SQLite's lock
}

// A request is the write of one caller.
type request struct {
	// do writes. If it returns an error, it has changed no record; errors of SQLite go to
	// tx.broken. It may be called again after its transaction was rolled back.
	do    func(*tx) error
	bytes int
	taken bool // by the writer; under writer.mu
	done  chan error
}

// The limits of one transaction, so that other processes soon get their turn.
const (
	maxGroup      = 64
	maxGroupBytes = 4 << 20
)

// submit queues a write, waits for it and returns its error.
func (w *writer) submit(ctx context.Context, bytes int, do func(*tx) error) error {
	r := &request{do: do, bytes: bytes, done: make(chan error, 1)}
	w.mu.Lock()
	if w.shut {
		w.mu.Unlock()
		return taskstore.ErrClosed
	}
	w.pending = append(w.pending, r)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-r.done: // both are ready: return the outcome
		return err
	default:
	}
	w.mu.Lock()
	taken := r.taken
	if i := slices.Index(w.pending, r); i >= 0 {
		w.pending = slices.Delete(w.pending, i, i+1)
	}
	w.mu.Unlock()
	switch {
	case taken:
		return fmt.Errorf("taskstore: the write's transaction was under way: %w: %w", taskstore.ErrOutcomeUnknown, ctx.Err())
	case w.locked.Load():
		return &FileError{Reason: "the write was not made: another program holds the lock of the file", Err: ctx.Err()}
	}
	return &FileError{Reason: "the write was not made: its turn did not come in time", Err: ctx.Err()}
}

// run makes the writes until the writer is shut.
func (w *writer) run() {
	defer close(w.ended)
	for range w.wake {
		for w.waiting() {
			w.once()
		}
		w.mu.Lock()
		shut := w.shut
		w.mu.Unlock()
		if shut {
			return
		}
	}
}

func (w *writer) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending) > 0
}

// take removes the requests of the next transaction from pending and returns them.
func (w *writer) take() (group []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	bytes := 0
	for len(group) < min(len(w.pending), maxGroup) && bytes < maxGroupBytes {
		r := w.pending[len(group)]
		r.taken = true
		bytes += r.bytes
		group = append(group, r)
	}
	w.pending = slices.Delete(w.pending, 0, len(group))
	return group
}

// once waits for the turn and then writes the waiting requests in one transaction.
func (w *writer) once() {
	if err := w.turns.take(); err != nil {
		answer(w.take(), &FileError{Reason: "the lock of the processes' turns failed", Err: err})
		return
	}
	defer w.turns.pass()
	if err := w.file.same(); err != nil {
		answer(w.take(), err)
		return
	}
	if err := w.begin(); busy(err) {
		return // all waiting callers have given up
	} else if err != nil {
		answer(w.take(), fileError(err))
		return
	}
	group := w.take()
	errs, err := w.transact(group)
	if err != nil && len(group) > 1 && !errors.Is(err, taskstore.ErrOutcomeUnknown) {
		// One request may be the cause, such as one that fills the disk.
		for _, r := range group {
			alone := []*request{r}
			if err = w.begin(); err == nil {
				errs, err = w.transact(alone)
			}
			w.answer(alone, errs, fileError(err))
		}
		return
	}
	w.answer(group, errs, err)
}

// answer gives each caller its error of errs, or all of them err if err is not nil.
func (w *writer) answer(group []*request, errs []error, err error) {
	if err != nil {
		answer(group, err)
		return
	}
	w.wrote()
	for i, r := range group {
		r.done <- errs[i]
	}
}

func answer(group []*request, err error) {
	for _, r := range group {
		r.done <- err
	}
}

// begin begins a transaction. It retries while another program holds the lock and a caller
// waits.
func (w *writer) begin() error {
	defer w.locked.Store(false)
	for {
		_, err := w.tx.statements[beginSQL].ExecContext(background)
		if !busy(err) || !w.waiting() {
			return err
		}
		w.locked.Store(true)
		time.Sleep(time.Millisecond + rand.N(10*time.Millisecond))
	}
}

// transact makes all requests in the transaction that was begun, or rolls it back. errs has
// the error of each request.
func (w *writer) transact(group []*request) (errs []error, err error) {
	w.tx.start()
	for _, r := range group {
		errs = append(errs, r.do(&w.tx))
	}
	w.tx.tidy(len(group))
	if err := w.tx.broken; err != nil {
		w.rollback()
		return nil, fileError(err)
	}
	if _, err := w.tx.statements[commitSQL].ExecContext(background); err != nil {
		w.rollback()
		if code(err) == sqlite3.SQLITE_IOERR {
			// The commit may be on the disk already, so a recovery may find it.
			return nil, fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, fileError(err))
		}
		return nil, fileError(err)
	}
	return errs, nil
}

// rollback rolls the transaction back, unless SQLite has already done so.
func (w *writer) rollback() { _, _ = w.tx.statements[undoSQL].ExecContext(background) }

var background = context.Background()

// closeTime limits the wait of close for a writer that another process blocks.
const closeTime = 5 * time.Second

// close fails the pending requests and waits for the current transaction.
func (w *writer) close() error {
	w.mu.Lock()
	w.shut = true
	answer(w.pending, taskstore.ErrClosed)
	w.pending = nil
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	end := func() error { return errors.Join(w.tx.close(), w.conn.Close(), w.db.Close(), w.turns.close()) }
	select {
	case <-w.ended:
		return end()
	case <-time.After(closeTime):
		go func() { <-w.ended; _ = end() }()
		return &FileError{Reason: "another process holds the turn to write: the file is closed when that process releases it"}
	}
}
