package pgstore

import (
	"context"
	"sync"
	"time"
)

const (
	// readingAge is how long the estimate relies on one reading of the server's clock.
	readingAge = 10 * time.Second
	// clockMargin is the greatest expected difference between the clocks of a server and
	// of its successor.
	clockMargin = 10 * time.Millisecond
)

// A clock estimates the server's clock from one reading and the process's monotonic clock.
type clock struct {
	mu     sync.Mutex
	server time.Time     // the server's time at the latest reading
	at     time.Time     // the process's time at that reading
	slack  time.Duration // the greatest error of at
}

// estimate returns the server's time by the latest reading, unless that is too old.
func (c *clock) estimate() (now time.Time, slack time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.at)
	if c.at.IsZero() || age > readingAge {
		return time.Time{}, 0, false
	}
	return c.server.Add(age), c.slack, true
}

// read asks the server for its time, which is a little past when read returns.
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

// before returns an instant before begin by the server's clock, in µs. It asks the server,
// which may be another one by now, and compares with an earlier reading, if there is one, to
// notice a step of the clock since begin. It uses the lesser of the two: a record that is
// taken for too young makes an outcome unknown, but not wrong.
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

// Now implements [taskstore.Clock]. It returns the server's time, give or take half a round
// trip, and asks the server at most every ten seconds.
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
