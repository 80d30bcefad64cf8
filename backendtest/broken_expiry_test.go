package backendtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

// onExpiry makes writes use another expiry.
func onExpiry(change func(at time.Time) time.Time) func(f *fake) {
	return onWrite(func(_ *fake, _ ctxt, _ key, v value) value {
		v.ExpiresAt = change(v.ExpiresAt)
		return v
	})
}

// onOldExpiry makes updates choose between the expiry of before and theirs.
func onOldExpiry(choose func(before, now time.Time) time.Time) func(f *fake) {
	return onWrite(func(f *fake, ctx ctxt, k key, v value) value {
		if r, err := f.m.Get(ctx, k); err == nil {
			v.ExpiresAt = choose(r.ExpiresAt, v.ExpiresAt)
		}
		return v
	})
}

// onRead makes Get and ListByPrefix alter the records that they return.
func onRead(alter func(*entry)) func(f *fake) {
	return func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			alter(&r)
			return r, err
		}
		f.list = func(ctx ctxt, k key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, k)
			for i := range records {
				alter(&records[i])
			}
			return records, err
		}
	}
}

func isPast(at time.Time) bool { return !at.IsZero() && at.Before(time.Now()) }

var brokenExpiry = []breach{
	{"expiry/past-create", "a past expiry is an error", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if isPast(v.ExpiresAt) {
				return 0, taskstore.ErrInvalidArgument
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"expiry/past-create expiry/past-update", "a past expiry is no expiry", onExpiry(func(at time.Time) time.Time {
		if isPast(at) {
			return time.Time{}
		}
		return at
	})},
	{"expiry/past-update", "a past expiry is not applied", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if isPast(v.ExpiresAt) && f.version(ctx, k) == e {
				return e + 1, nil
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"expiry/past-conflict cas/failed", "a past expiry deletes, whatever is expected", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if isPast(v.ExpiresAt) {
				_, err := f.m.Delete(ctx, k)
				return e + 1, err
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"expiry/instant expiry/read-back", "expiry has whole seconds", onExpiry(func(at time.Time) time.Time { return at.Truncate(time.Second) })},
	{"expiry/instant", "expiry is rounded up", onExpiry(func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return at.Truncate(time.Second).Add(time.Second)
	})},
	{"expiry/instant expiry/clock", "records expire by a clock that is slow", onExpiry(func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return at.Add(5 * time.Second)
	})},
	{"expiry/clock", "Now is an hour ahead", func(f *fake) {
		f.now = func(ctx ctxt) (time.Time, error) { return time.Now().Add(time.Hour), ctx.Err() }
	}},
	{"expiry/clock", "Now is an hour behind", func(f *fake) {
		f.now = func(ctx ctxt) (time.Time, error) { return time.Now().Add(-time.Hour), ctx.Err() }
	}},
	{"expiry/read-back", "expiry is rounded", onExpiry(func(at time.Time) time.Time { return at.Round(time.Millisecond) })},
	{"expiry/read-back", "expiry reads back in a zone", onRead(func(r *entry) { r.ExpiresAt = r.ExpiresAt.In(time.FixedZone("here", 3600)) })},
	{"expiry/never", "no expiry reads back as 1970", onRead(func(r *entry) {
		if r.ExpiresAt.IsZero() {
			r.ExpiresAt = time.UnixMilli(0)
		}
	})},
	{"expiry/prolonged", "the earlier expiry stays", onOldExpiry(func(before, now time.Time) time.Time {
		if before.Before(now) {
			return before
		}
		return now
	})},
	{"expiry/shortened", "the later expiry stays", onOldExpiry(func(before, now time.Time) time.Time {
		if before.IsZero() || before.After(now) {
			return before
		}
		return now
	})},
	{"expiry/out-of-range", "an expiry before 1970 is no expiry", onExpiry(func(at time.Time) time.Time {
		if at.Year() < 1970 {
			return time.Time{}
		}
		return at
	})},
	{"expiry/out-of-range", "expiry wraps around", onExpiry(func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return time.UnixMilli(at.UnixMilli())
	})},

	{"expired/get", "Get finds the expired", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			if r, ok := f.expired(k); ok {
				return r, nil
			}
			return f.m.Get(ctx, k)
		}
	}},
	{"expired/put", "Put counts on", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			r, expired := f.expired(k)
			made, err := f.m.Put(ctx, k, v)
			if expired {
				made += r.Version
			}
			return made, err
		}
	}},
	{"expired/put", "Put takes over the expiry", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if r, expired := f.expired(k); expired {
				v.ExpiresAt = r.ExpiresAt
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"expired/create", "the expired is in the way of a create", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if r, expired := f.expired(k); expired && e == 0 {
				return 0, &taskstore.VersionConflictError{Key: k, Actual: r.Version}
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"expired/conflict", "PutIfVersion brings back the expired", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if r, expired := f.expired(k); expired && e == r.Version {
				return f.m.Put(ctx, k, v)
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"expired/delete", "Delete counts the expired", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed, err := f.m.Delete(ctx, k)
			_, expired := f.expired(k)
			return existed || expired, err
		}
	}},
	{"expired/list", "ListByPrefix shows the expired", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			return append(records, f.expiredOf(prefix)...), err
		}
	}},
	{"expired/page", "ListPage shows the expired", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			records, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if len(records) < limit {
				records = append(records, f.expiredOf(prefix)...)
			}
			return records, next, err
		}
	}},
	{"expired/order list/order-after-delete", "a record has its first place for ever", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) { return f.inOrder(ctx, &f.first, prefix) }
	}},
	{"expired/cleanup", "CleanupExpired removes records before they expire", func(f *fake) {
		f.cleanup = func(ctx ctxt) (int, error) {
			for _, k := range f.keys(&f.first) {
				if r, err := f.m.Get(ctx, k); err == nil && !r.ExpiresAt.IsZero() {
					f.m.Delete(ctx, k)
				}
			}
			return f.m.CleanupExpired(ctx)
		}
	}},
	{"expired/cleanup", "CleanupExpired returns -1", func(f *fake) {
		f.cleanup = func(ctx ctxt) (int, error) { return -1, nil }
	}},

	{"clock/steady", "Now is random", func(f *fake) {
		f.now = func(ctx ctxt) (time.Time, error) { return time.Now().Add(rand.N(2 * time.Second)), ctx.Err() }
	}},
	{"clock/steady", "Now stands still", func(f *fake) {
		start := time.Now()
		f.now = func(ctx ctxt) (time.Time, error) { return start, ctx.Err() }
	}},
	{"clock/ping", "Ping fails", func(f *fake) {
		f.ping = func(ctxt) error { return errors.New("no answer") }
	}},
}

// expiredOf returns the expired records of prefix.
func (f *fake) expiredOf(prefix key) (records []entry) {
	for _, k := range f.keys(&f.first) {
		if r, ok := f.expired(k); ok && k.Owner == prefix.Owner && strings.HasPrefix(k.Task, prefix.Task) {
			records = append(records, r)
		}
	}
	return records
}

var brokenContexts = []breach{
	{"contexts/cancelled contexts/deadline", "Put does not look at ctx", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) { return f.m.Put(deaf(ctx), k, v) }
	}},
	{"contexts/cancelled contexts/deadline", "Watch does not look at ctx", func(f *fake) {
		f.watch = func(ctx ctxt, k key) seq { return f.m.Watch(deaf(ctx), k) }
	}},
	{"contexts/cancelled contexts/deadline", "CleanupExpired does not look at ctx", func(f *fake) {
		f.cleanup = func(ctx ctxt) (int, error) { return f.m.CleanupExpired(deaf(ctx)) }
	}},
	{"contexts/cancelled contexts/deadline", "ListPage does not look at ctx", func(f *fake) {
		f.page = func(ctx ctxt, k key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(deaf(ctx), k, cursor, limit)
		}
	}},
	{"contexts/cancelled", "Delete writes before it looks at ctx", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed, _ := f.m.Delete(deaf(ctx), k)
			return existed, ctx.Err()
		}
	}},
	{"contexts/cancelled contexts/deadline", "the error of ctx becomes text", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if err != nil && ctx.Err() != nil {
				err = fmt.Errorf("get: %v", err)
			}
			return r, err
		}
	}},
	{"contexts/deadline", "every ctx is cancelled", func(f *fake) {
		f.ping = func(ctx ctxt) error {
			if ctx.Err() != nil {
				return errors.New("context canceled")
			}
			return nil
		}
	}},
	{"contexts/during", "a write that was applied is said to have failed", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			pause()
			if err == nil && ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return made, err
		}
	}},
	{"contexts/during", "the error of ctx is lost on the way", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			pause()
			made, err := f.m.Put(ctx, k, v)
			if ctx.Err() != nil {
				return 0, errors.New("i/o timeout")
			}
			return made, err
		}
	}},
	{"contexts/during", "a call outlasts its ctx", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			pause()
			if ctx.Err() != nil {
				time.Sleep(littlePatience/2 + 100*time.Millisecond)
			}
			return f.m.Put(ctx, k, v)
		}
	}},
}
