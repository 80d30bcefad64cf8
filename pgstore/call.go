package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/taskstore/taskstore"
)

// This file sends all statements except those of the feed, which has a connection of its
// own. A read is resent unchanged. A write is resent in one of two ways:
//
//	the copies sent so far                       the next copy
//	were rolled back, or did not arrive          is the same
//	one may have been committed, or will be yet  has p_since too, which makes the
//	                                             function look for the operation id
//	                                             before it writes

// retryTime is how long a call retries while the server cannot answer.
const retryTime = 20 * time.Second

const (
	minPause = 8 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

type rows [][][]byte

// exec sends a statement once.
func (b *Backend) exec(ctx context.Context, s statement, args arguments) (rows, error) {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return nil, &unsentError{err}
	}
	defer conn.Release()
	r, err := execOn(ctx, conn.Conn().PgConn(), s, args)
	if readOnly(err) {
		// The server was demoted. The pool drops a closed connection, and the next one
		// may lead to the new primary.
		_ = conn.Conn().Close(ctx)
	}
	return r, err
}

func execOn(ctx context.Context, conn *pgconn.PgConn, s statement, args arguments) (rows, error) {
	r := conn.ExecParams(ctx, s.text, args, s.oids, binaryFormat, binaryFormat).Read()
	if r.Err != nil && pgconn.SafeToRetry(r.Err) {
		return nil, &unsentError{r.Err}
	}
	return r.Rows, r.Err
}

// A retryBudget limits the retries of one call.
type retryBudget struct {
	b     *Backend
	since time.Time // the first failure
	tries int       // retries after the first failure
}

// wait waits before the next attempt after err. It returns nil if the caller should retry,
// and otherwise the error to give up with.
func (p *retryBudget) wait(ctx context.Context, err error) error {
	told := redact(err)
	switch {
	case p.b.closed():
		return fmt.Errorf("%w, after: %w", taskstore.ErrClosed, told)
	case ctx.Err() != nil && !errors.Is(told, ctx.Err()):
		return fmt.Errorf("%w, after: %w", ctx.Err(), told)
	case ctx.Err() != nil || classify(err) == refused:
		return told
	case p.tries == 0:
		p.since = time.Now()
	case time.Since(p.since) > retryTime:
		return told
	}
	p.tries++
	if p.tries == 1 && classify(err) != undone {
		return nil // most often only the connection broke
	}
	pause := time.NewTimer(rand.N(min(minPause<<min(p.tries, 8), maxPause)))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w, after: %w", ctx.Err(), told)
	case <-p.b.ctx.Done():
		return fmt.Errorf("%w, after: %w", taskstore.ErrClosed, told)
	}
}

// within returns a ctx that ends with ctx or with the backend.
func (b *Backend) within(ctx context.Context) (context.Context, func()) {
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ctx, cancel)
	return inner, func() { stop(); cancel() }
}

// ask sends a read-only statement until there is an answer.
func (b *Backend) ask(ctx context.Context, s statement, args arguments) (rows, error) {
	inner, done := b.within(ctx)
	defer done()
	p := retryBudget{b: b}
	for {
		r, err := b.exec(inner, s, args)
		if err == nil {
			return r, nil
		}
		if err = p.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// An answer is the reply of a function that writes.
type answer struct {
	status int64
	number int64
	index  int64 // of a batch
	resent bool  // an earlier copy may have been applied
}

// The statuses of an answer.
const (
	statusDone = iota
	statusConflict
	statusFull
	statusOverflow
	statusUnknown
	statusAgain
)

// errAgain is the cause of a retry after the function lost a race against other writers.
var errAgain = errors.New("other writers change the same record on each attempt")

// send sends a write until there is an answer. It returns an uncertainError unless the write
// was surely not applied. since is the index of p_since in args.
func (b *Backend) send(ctx context.Context, s statement, args arguments, since int) (answer, error) {
	inner, done := b.within(ctx)
	defer done()
	p := retryBudget{b: b}
	begin := time.Now()
	var lost error // the failure that left the outcome of a copy unknown
	for {
		var err error
		if lost != nil && args[since] == nil {
			var before int64
			if before, err = b.clock.before(inner, b, begin); err == nil {
				args[since] = encodeInt(before)
			}
		}
		if err == nil {
			var r rows
			if r, err = b.exec(inner, s, args); err == nil && decodeInt(r[0][0]) == statusAgain {
				err = errAgain
			}
			if err == nil {
				b.sweeper.wrote(b)
				b.feed.wrote()
				return conclude(r[0], lost)
			}
			if classify(err) == unknown && lost == nil {
				lost = redact(err)
			}
		}
		if err = p.wait(ctx, err); err == nil {
			continue
		}
		switch {
		case lost != nil && errors.Is(err, lost):
			err = &uncertainError{err}
		case lost != nil:
			err = &uncertainError{fmt.Errorf("%w, after: %w", err, lost)}
		}
		return answer{}, err
	}
}

// conclude reads the reply to a write.
func conclude(columns [][]byte, lost error) (answer, error) {
	a := answer{status: decodeInt(columns[0]), number: decodeInt(columns[len(columns)-1]), resent: lost != nil}
	if len(columns) == 3 {
		a.index = decodeInt(columns[1])
	}
	switch {
	case a.status == statusUnknown:
		return a, &uncertainError{fmt.Errorf("the answer was lost, and the record as it is now does not show whether the write was applied: %w", lost)}
	case a.resent && (a.status == statusFull || a.status != statusDone && a.index > 0):
		return a, &uncertainError{fmt.Errorf("the answer was lost, and the write is refused now: %w", lost)}
	}
	return a, nil
}
