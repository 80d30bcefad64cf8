package taskstore

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// clockReadingAge is how long one reading of the server's clock is relied on. A
// step of that clock is noticed within it, and two quartz clocks part by less
// than a millisecond meanwhile.
const clockReadingAge = 10 * time.Second

// A serverClock estimates the server's clock from one reading and the process's
// monotonic clock. The process's wall clock plays no part, so it may be wrong by
// any amount.
type serverClock struct {
	local   func() time.Time // time.Now; tests put a wrong one
	reading atomic.Bool      // in the background

	mu     sync.Mutex
	server time.Time     // what the server said
	at     time.Time     // when it said so, by local; zero if it never did
	slack  time.Duration // how far off that may be
}

// set notes that the server said server between the local instants from and to.
func (c *serverClock) set(server, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slack = to.Sub(from)/2 + time.Millisecond
	c.server, c.at = server, from.Add(to.Sub(from)/2)
}

// estimate returns the server's time, give or take slack, by a reading of that age.
func (c *serverClock) estimate() (now time.Time, slack, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Time{}, 0, math.MaxInt64
	}
	age = c.local().Sub(c.at)
	return c.server.Add(age), c.slack, age
}

// Now implements [Clock]: it is the server's time, give or take half a round
// trip. While it is in use it asks the server every five seconds, in the
// background; only the first call, and one after a pause, waits for the answer. In
// a Cluster it asks one node; the masters' clocks should be kept together, as for
// any Cluster.
func (b *RedisBackend) Now(ctx context.Context) (time.Time, error) {
	if err := b.usable(ctx); err != nil {
		return time.Time{}, err
	}
	if now, _, ok := b.serverTime(); ok {
		return now, nil
	}
	now, err := b.insistOnClock(ctx, b.keys.clock())
	if err != nil {
		return time.Time{}, failure("read the server's clock", Key{}, err)
	}
	return now, nil
}

// insistOnClock reads the clock however often it takes, see persist.
func (b *RedisBackend) insistOnClock(ctx context.Context, key string) (time.Time, error) {
	return persist(ctx, b, func() (time.Time, error) { return b.readClock(ctx, key) })
}

// readClock asks the server that has key.
func (b *RedisBackend) readClock(ctx context.Context, key string) (time.Time, error) {
	from := b.clock.local()
	r, err := b.run(ctx, b.scripts.clock, scriptArgs(0, key))
	if err != nil {
		return time.Time{}, err
	}
	now := time.UnixMicro(int64(r.number)).UTC()
	b.clock.set(now, from, b.clock.local())
	return now, nil
}

// serverTime is the estimate of the server's clock. One that is old or getting old
// is renewed in the background, so that no call has to wait for it while calls come
// in every now and then.
func (b *RedisBackend) serverTime() (now time.Time, slack time.Duration, ok bool) {
	now, slack, age := b.clock.estimate()
	if age > clockReadingAge/2 && b.clock.reading.CompareAndSwap(false, true) {
		go func() {
			defer b.clock.reading.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), clockReadingAge)
			defer cancel()
			_, _ = b.readClock(ctx, b.keys.clock())
		}()
	}
	return now, slack, age <= clockReadingAge
}

// earliest returns the least that the server's clock says now, in Unix ms, 0 where
// that cannot be told.
func (b *RedisBackend) earliest() int64 {
	now, slack, ok := b.serverTime()
	if !ok {
		return 0
	}
	return now.Add(-slack).UnixMilli()
}

// doubtful reports whether a record that the server showed after the instant
// earliest was past its expiresAt. That takes a TTL that somebody removed, or an
// estimate that is wrong; so it is looked at again, after asking the server for
// the time. What became of the record, or of the time, after the server showed it
// must not matter: the record was there.
func doubtful(expiresAt, earliest int64) bool {
	return expiresAt != 0 && (earliest == 0 || expiresAt < earliest)
}

// ahead reports whether expiresAt is surely in the server's future. Where that
// cannot be told it is not.
func (b *RedisBackend) ahead(expiresAt int64) bool {
	if expiresAt == 0 {
		return true
	}
	now, slack, ok := b.serverTime()
	return ok && now.Add(slack+time.Second).UnixMilli() < expiresAt
}
