package redislink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Every command is resent here and nowhere else; see once. A read is resent unchanged. A
// write continues in one of two ways:
//
//	the copies sent so far                       the next copy
//	no server executed any of them               the same again
//	one was executed, or still may be            the script's counterpart, which
//	                                             looks for the write's own
//	                                             operation id before it writes
//
// The caller provides the counterpart and decides which outcomes it can tell.

// errClusterNode says that a client of one server was given a node of a Cluster, so no
// attempt can succeed.
var errClusterNode = errors.New("the server is a node of a Cluster, and the key is on another one; use a Cluster client, or OpenRedis")

// RetryTime is how long a call keeps retrying while the server cannot answer. A Cluster
// with the default timeouts fails over within it, and so does a Sentinel with
// down-after-milliseconds of 15 seconds or less.
const RetryTime = 20 * time.Second

const (
	minPause = 8 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// A retryBudget tracks the retries of one call.
type retryBudget struct {
	l     *Link
	since time.Time // the first failure
	tries int       // after that
	last  error     // the latest failure
}

// wait waits before the next attempt after err. It returns nil if the caller should make
// that attempt, and otherwise the error to give up with.
func (p *retryBudget) wait(ctx context.Context, err error) error {
	err = Redact(err)
	last := p.last
	p.last = err
	now := p.l.Clock.Local()
	switch {
	case p.l.Closed():
		return p.l.Ended(err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w, after: %w", ctx.Err(), err)
	case ctx.Err() != nil && last != nil:
		return fmt.Errorf("%w, after: %w", err, last)
	case ctx.Err() != nil || !transient(err) || p.l.damage(err):
		return err
	case p.l.cluster == nil && (Said(err, "MOVED") || Said(err, "ASK")):
		return fmt.Errorf("%w: %w", errClusterNode, err)
	case last == nil:
		p.since = now
	case now.Sub(p.since) > RetryTime:
		return err
	}
	if OfReplica(err) {
		p.l.condemn(ctx)
	}
	p.l.RefreshSlots(ctx)
	p.tries++
	if p.tries == 1 {
		p.again()
		return nil // usually only the connection broke
	}
	pause := time.NewTimer(rand.N(min(minPause<<min(p.tries, 8), maxPause)))
	defer pause.Stop()
	select {
	case <-pause.C:
		p.again()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w, after: %w", ctx.Err(), err)
	case <-p.l.closed:
		return p.l.Ended(err)
	}
}

// again reports that a command is about to be resent.
func (p *retryBudget) again() {
	if p.l.opts.Resent != nil {
		p.l.opts.Resent()
	}
}

// Retry calls f until it succeeds, fails for good, or has used up the budget. f must change
// no data and must heed ctx.
func Retry[T any](ctx context.Context, l *Link, f func() (T, error)) (T, error) {
	p := retryBudget{l: l}
	for {
		v, err := f()
		if err == nil {
			return v, nil
		}
		if err = p.wait(ctx, err); err != nil {
			return v, err
		}
	}
}
