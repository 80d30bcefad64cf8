package taskstore

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// clockReadingAge is how long one reading of the server's clock is told as the time. A
// step of that clock is noticed within it, and two quartz clocks part by less than a
// millisecond meanwhile.
const clockReadingAge = 10 * time.Second

// neverRead is the age of a reading that there is not.
const neverRead time.Duration = math.MaxInt64

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
		return time.Time{}, 0, neverRead
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
	if now, _, age := b.serverTime(); age <= clockReadingAge {
		return now, nil
	}
	now, err := persist(ctx, b, func() (time.Time, error) { return b.readClock(ctx, b.keys.clock()) })
	if err != nil {
		return time.Time{}, failure("read the server's clock", Key{}, err)
	}
	return now, nil
}

// readClock asks the server that has key.
func (b *RedisBackend) readClock(ctx context.Context, key string) (time.Time, error) {
	from := b.clock.local()
	r, err := b.run(ctx, call{script: b.scripts.clock, keys: []string{key}})
	if err != nil {
		return time.Time{}, err
	}
	now := time.UnixMicro(int64(r.Number)).UTC()
	b.clock.set(now, from, b.clock.local())
	return now, nil
}

// serverTime is the estimate of the server's clock. A reading that is old or getting
// old is renewed in the background, so that no call has to wait for it while calls come
// in every now and then.
func (b *RedisBackend) serverTime() (now time.Time, slack, age time.Duration) {
	now, slack, age = b.clock.estimate()
	if age > clockReadingAge/2 && age != neverRead && b.clock.reading.CompareAndSwap(false, true) {
		go func() {
			defer b.clock.reading.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), clockReadingAge)
			defer cancel()
			_, _ = b.readClock(ctx, b.keys.clock())
		}()
	}
	return now, slack, age
}

// doubtful reports whether a record with that expiresAt, which the server showed just
// now, may be past. It is not where the estimate of the server's clock, and as much
// more as the estimate may be wrong, is before that instant. An old reading will do:
// clocks part by less than a thousandth, and a second more allows for a step that the
// clock has made since; where it was a greater one, the record's TTL hides what is
// past for a second.
func (b *RedisBackend) doubtful(expiresAt int64) bool {
	if expiresAt == 0 {
		return false
	}
	now, slack, age := b.serverTime()
	return age == neverRead || now.Add(slack+age/1000+time.Second).UnixMilli() > expiresAt
}
