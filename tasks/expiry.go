package tasks

import "time"

// A record is kept beyond TTL, the promise to the client, while a runner works on the
// task. So a task does not vanish under its runner, and a task whose runner is gone
// still exists when a read by its client settles it. Every write sets the expiry of the
// record, by the first row that fits:
//
//	the task                          its record expires
//	has ended                         at CreatedAt + TTL
//	is working and Resumable          at the latest (below): its runner may come back, or
//	                                  another may take a task that was released
//	is working and leased or offered  a lease after that lease, or after the mark of a
//	                                  suspicion, at the earliest
//	was asked a question just now     at the earliest with half of TTL left for the answer
//	any                               at CreatedAt + TTL, and not earlier than was written
//	                                  before, unless Update made TTL shorter
//
// The latest is CreatedAt + MaxTTL plus a lease, in which readers see a task fail that
// ran for MaxTTL. With a negative MaxTTL there is no latest.
//
// An extension is a long one, to TTL from now or for two renewed leases more, since the
// records beside the task have to be extended before it.

// expiry returns the expiry of the record of next; zero: it does not expire. cur is the
// state before, nil for a new task.
func (s *Store) expiry(cur, next *record, now time.Time) time.Time {
	var end time.Time // the promise to the client
	if next.TTL != 0 {
		end = next.CreatedAt.Add(next.TTL)
	}
	latest := s.latest(&next.Task)
	switch {
	case next.Status.Terminal():
		return end
	case next.Status == Working && next.Resumable:
		return latest
	}
	at := end
	if cur != nil && cur.TTL != 0 && next.TTL >= cur.TTL {
		at = later(at, cur.ExpiresAt)
	}
	switch {
	case next.Status == Working && next.Lease.Token != 0:
		seen := next.Lease.ExpiresAt
		if next.Lease.IdleSince.After(seen) {
			seen = next.Lease.IdleSince
		}
		if least := seen.Add(s.opts.Lease); !at.IsZero() && at.Before(least) {
			step := later(now.Add(next.TTL), least.Add(s.opts.Lease).Add(s.opts.Lease))
			at = later(at, earlier(step, latest))
		}
	case next.Status == InputRequired && cur.Status == Working && next.TTL != 0: // asked just now
		if at.IsZero() { // it was Resumable; an answer may not come
			at = now.Add(next.TTL)
		} else if at.Before(now.Add(next.TTL / 2)) {
			at = later(at, earlier(now.Add(next.TTL), latest))
		}
	}
	return at
}

// latest returns the latest expiry of the record of t, which has not ended; zero: it
// does not expire.
func (s *Store) latest(t *Task) time.Time {
	if s.opts.MaxTTL < 0 {
		return time.Time{}
	}
	return t.CreatedAt.Add(s.opts.MaxTTL).Add(s.opts.Lease)
}

// later returns the later of two expiries; zero is later than any other.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.Before(b) {
		return b
	}
	return a
}

// earlier returns the earlier of two expiries; zero is later than any other.
func earlier(a, b time.Time) time.Time {
	if later(a, b).Equal(a) {
		return b
	}
	return a
}
