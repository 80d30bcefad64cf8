package redislink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Every command is resent here and nowhere else: see once. A read is asked again
// as it stands. A write goes on in one of two ways:
//
//	what is known of the copies sent so far      what is sent next
//	no server executed any of them               the same again
//	one may have been executed, or will be yet   the script's counterpart, which
//	                                             looks for the write's own
//	                                             operation id before it writes
//
// The counterpart is the caller's, who says what it can tell.

// errClusterNode is why no attempt of a client that knows one server can succeed.
var errClusterNode = errors.New("the server is a node of a Cluster, and the key is on another one; use a Cluster client, or OpenRedis")

// RetryTime is how long a call that meets a server that cannot answer goes on
// trying. A Cluster with the default timeouts has failed over by then, a Sentinel
// with down-after-milliseconds of 15 seconds or less too.
const RetryTime = 20 * time.Second

const (
	minPause = 8 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// A retryBudget is what is left of a call's willingness to try again.
type retryBudget struct {
	l     *Link
	since time.Time // the first failure
	tries int       // after that
	last  error     // the latest failure
}

// wait waits before the next attempt after err. It returns nil when that is to be
// made, and otherwise what to give up with.
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
	if p.tries == 1 { // mostly it was the connection
		p.again()
		return nil
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

// again tells that a command is sent again.
func (p *retryBudget) again() {
	if p.l.opts.Resent != nil {
		p.l.opts.Resent()
	}
}

// Retry does f, which changes nothing and heeds ctx, until it succeeds, fails for
// good, or the budget is spent.
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
