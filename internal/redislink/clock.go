package redislink

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// readingAge is how long one reading of the server's clock is told as the time. A
// step of that clock is noticed within it, and two quartz clocks part by less than a
// millisecond meanwhile.
const readingAge = 10 * time.Second

// neverRead is the age of a reading that there is not.
const neverRead time.Duration = math.MaxInt64

// A Clock estimates the server's clock from one reading and the process's
// monotonic clock. The process's wall clock plays no part, so it may be wrong by
// any amount.
type Clock struct {
	Local   func() time.Time // time.Now; tests put a wrong one
	reading atomic.Bool      // in the background

	mu     sync.Mutex
	server time.Time     // what the server said
	at     time.Time     // when it said so, by Local; zero if it never did
	slack  time.Duration // how far off that may be
}

// Set notes that the server said server between the local instants from and to.
func (c *Clock) Set(server, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slack = to.Sub(from)/2 + time.Millisecond
	c.server, c.at = server, from.Add(to.Sub(from)/2)
}

// Estimate returns the server's time, give or take slack, by a reading of that age.
func (c *Clock) Estimate() (now time.Time, slack, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Time{}, 0, neverRead
	}
	age = c.Local().Sub(c.at)
	return c.server.Add(age), c.slack, age
}

// Now returns the server's time, give or take half a round trip. It waits for the
// server where the latest reading is too old.
func (l *Link) Now(ctx context.Context) (time.Time, error) {
	if now, _, age := l.serverTime(); age <= readingAge {
		return now, nil
	}
	return Retry(ctx, l, func() (time.Time, error) { return l.readClock(ctx, l.opts.Key) })
}

// readClock asks the server that has key.
func (l *Link) readClock(ctx context.Context, key string) (time.Time, error) {
	from := l.Clock.Local()
	r, err := l.Run(ctx, Call{Script: l.opts.Clock, Keys: []string{key}})
	if err != nil {
		return time.Time{}, err
	}
	now := time.UnixMicro(int64(r.Number)).UTC()
	l.Clock.Set(now, from, l.Clock.Local())
	return now, nil
}

// serverTime is the estimate of the server's clock. A reading that is old or getting
// old is renewed in the background, so that no call has to wait for it while calls come
// in every now and then.
func (l *Link) serverTime() (now time.Time, slack, age time.Duration) {
	now, slack, age = l.Clock.Estimate()
	if age > readingAge/2 && age != neverRead && l.Clock.reading.CompareAndSwap(false, true) {
		go func() {
			defer l.Clock.reading.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), readingAge)
			defer cancel()
			_, _ = l.readClock(ctx, l.opts.Key)
		}()
	}
	return now, slack, age
}

// MaybePast reports whether a record with that expiresAt, which the server showed just
// now, may be past. It is not where the estimate of the server's clock, and as much
// more as the estimate may be wrong, is before that instant. An old reading will do:
// clocks part by less than a thousandth, and a second more allows for a step that the
// clock has made since; where it was a greater one, the record's TTL hides what is
// past for a second.
func (l *Link) MaybePast(expiresAt int64) bool {
	if expiresAt == 0 {
		return false
	}
	now, slack, age := l.serverTime()
	return age == neverRead || now.Add(slack+age/1000+time.Second).UnixMilli() > expiresAt
}

// clockMargin is by how much the clocks of a master and the replica that takes its
// place are expected to differ at most.
const clockMargin = 10 * time.Millisecond

// sentAfter returns an instant before begin by the clock of the server that has
// key, in Unix µs. A record that is older than that was there when the call that
// began at begin was first sent.
//
// The server is asked, which may have set its clock since it was asked last, or may be
// another one by now. A step since begin shows where an earlier reading says otherwise:
// the lesser of the two counts, for what is taken for too young is an unknown outcome
// and no wrong one.
func (l *Link) sentAfter(ctx context.Context, begin time.Time, key string) (string, error) {
	estimate, slack, age := l.Clock.Estimate()
	estimate = estimate.Add(-l.Clock.Local().Sub(begin) - slack)
	r, err := l.Run(ctx, Call{Script: l.opts.Clock, Keys: []string{key}})
	if err != nil {
		return "", err
	}
	// The server said it before now: that much earlier begin may be, and not less.
	earliest := time.UnixMicro(int64(r.Number)).Add(-l.Clock.Local().Sub(begin))
	if l.cluster == nil && age <= readingAge && estimate.Before(earliest) {
		earliest = estimate // in a Cluster each master goes by its own clock
	}
	return strconv.FormatInt(earliest.Add(-clockMargin).UnixMicro(), 10), nil
}
