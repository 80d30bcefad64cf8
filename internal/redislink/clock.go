package redislink

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// readingAge is how long one reading of the server's clock is used. A step of that clock is
// noticed within it, and two quartz clocks drift apart by less than a millisecond
// meanwhile.
const readingAge = 10 * time.Second

// neverRead is the age if there is no reading.
const neverRead time.Duration = math.MaxInt64

// A Clock estimates the server's clock from one reading and the process's monotonic clock.
// The process's wall clock plays no part, so it may be wrong by any amount.
type Clock struct {
	Local   func() time.Time // time.Now; tests set a wrong one
	reading atomic.Bool      // a reading is under way in the background

	mu     sync.Mutex
	server time.Time     // the server's time at the reading
	at     time.Time     // the same instant by Local; zero: there is no reading
	slack  time.Duration // how far off server may be
}

// Set stores a reading of the server's clock, made between the local instants from and to.
func (c *Clock) Set(server, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slack = to.Sub(from)/2 + time.Millisecond
	c.server, c.at = server, from.Add(to.Sub(from)/2)
}

// Estimate returns the server's time, give or take slack, and the age of the reading behind
// it.
func (c *Clock) Estimate() (now time.Time, slack, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Time{}, 0, neverRead
	}
	age = c.Local().Sub(c.at)
	return c.server.Add(age), c.slack, age
}

// Now returns the server's time, give or take half a round trip. It waits for the server if
// the latest reading is too old.
func (l *Link) Now(ctx context.Context) (time.Time, error) {
	if now, _, age := l.serverTime(); age <= readingAge {
		return now, nil
	}
	return Retry(ctx, l, func() (time.Time, error) { return l.readClock(ctx, l.opts.Key) })
}

// readClock reads the clock of the server that has key.
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

// serverTime estimates the server's clock. It renews an ageing reading in the background,
// so that calls do not wait for one as long as they come in now and then.
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

// MaybePast reports whether a record that the server returned just now may have expired. It
// has not if the estimate of the server's clock, plus its possible error, is before
// expiresAt (Unix ms; 0: the record does not expire). An old reading will do: clocks drift
// apart by less than a thousandth, and one second more allows for a step of the clock since
// then. If the step was greater, the record's TTL hides a record that has been expired for
// a second.
func (l *Link) MaybePast(expiresAt int64) bool {
	if expiresAt == 0 {
		return false
	}
	now, slack, age := l.serverTime()
	return age == neverRead || now.Add(slack+age/1000+time.Second).UnixMilli() > expiresAt
}

// clockMargin is the greatest expected difference between the clocks of a master and of the
// replica that replaces it.
const clockMargin = 10 * time.Millisecond

// sentAfter returns an instant before begin by the clock of the server that has key, in
// Unix µs. A record older than that existed before the call that began at begin was first
// sent.
//
// sentAfter asks the server, because its clock may have been set since the latest reading,
// or it may be another server by now. If an earlier reading disagrees, the clock was set
// after begin, and the earlier instant counts: a record that is wrongly taken for too young
// makes the outcome unknown, but not wrong.
func (l *Link) sentAfter(ctx context.Context, begin time.Time, key string) (string, error) {
	estimate, slack, age := l.Clock.Estimate()
	estimate = estimate.Add(-l.Clock.Local().Sub(begin) - slack)
	r, err := l.Run(ctx, Call{Script: l.opts.Clock, Keys: []string{key}})
	if err != nil {
		return "", err
	}
	// The server read its clock before now, so begin is at this instant or later.
	earliest := time.UnixMicro(int64(r.Number)).Add(-l.Clock.Local().Sub(begin))
	if l.cluster == nil && age <= readingAge && estimate.Before(earliest) {
		earliest = estimate // in a Cluster each master goes by its own clock
	}
	return strconv.FormatInt(earliest.Add(-clockMargin).UnixMicro(), 10), nil
}
