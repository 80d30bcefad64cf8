package pgstore

import (
	"context"
	"sync"
	"time"
)

const (
	// readingAge is how long one reading of the server's clock is told as the time.
	readingAge = 10 * time.Second
	// clockMargin is by how much the clocks of a server and of the one that takes its place
	// are expected to differ at most.
	clockMargin = 10 * time.Millisecond
)

// A clock estimates the server's clock from one reading and the process's monotonic clock.
type clock struct {
	mu     sync.Mutex
	server time.Time     // what the server said
	at     time.Time     // when that was, by the process's clock
	slack  time.Duration // how far off that may be
}

// estimate returns the server's time by a reading that is not too old.
func (c *clock) estimate() (now time.Time, slack time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.at)
	if c.at.IsZero() || age > readingAge {
		return time.Time{}, 0, false
	}
	return c.server.Add(age), c.slack, true
}

// read asks the server. The time that it returns was the server's at some moment before.
func (c *clock) read(ctx context.Context, b *Backend) (time.Time, error) {
	from := time.Now()
	r, err := b.ask(ctx, b.functions.clock, nil)
	if err != nil {
		return time.Time{}, err
	}
	took := time.Since(from)
	server := time.UnixMicro(decodeInt(r[0][0])).UTC()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.at, c.slack = server, from.Add(took/2), took/2+time.Millisecond
	return server, nil
}

// before returns an instant before begin by the server's clock, in µs. The server is asked,
// which may be another one by now. A step of its clock since begin shows where an earlier
// reading says otherwise: the lesser of the two counts, for a record that is taken for too
// young gives an unknown outcome and no wrong one.
func (c *clock) before(ctx context.Context, b *Backend, begin time.Time) (int64, error) {
	estimate, slack, ok := c.estimate()
	estimate = estimate.Add(-time.Since(begin) - slack)
	server, err := c.read(ctx, b)
	if err != nil {
		return 0, err
	}
	earliest := server.Add(-time.Since(begin))
	if ok && estimate.Before(earliest) {
		earliest = estimate
	}
	return earliest.Add(-clockMargin).UnixMicro(), nil
}

// Now implements [taskstore.Clock]: it is the server's time, give or take half a round trip.
// It asks the server every ten seconds at most.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	if err := b.usable(ctx); err != nil {
		return time.Time{}, err
	}
	if now, _, ok := b.clock.estimate(); ok {
		return now, nil
	}
	now, err := b.clock.read(ctx, b)
	if err != nil {
		return time.Time{}, b.failure("read the server's clock", err)
	}
	return now, nil
}
