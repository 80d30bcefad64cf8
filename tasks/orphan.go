package tasks

import (
	"context"
	"errors"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// The Error.Message and StatusMessage of a task that the store failed by itself. Its
// Error.Code is -32603, JSON-RPC's internal error.
const (
	// MessageRunnerGone: the runner did not renew the lease, and no other took the task
	// over.
	MessageRunnerGone = "the server that ran this task is gone"
	// MessageOvertime: the task was still working MaxTTL after its creation.
	MessageOvertime = "the task ran for as long as it may"
	// MessageDeadline: the task was detached, and its worker did not end it by its
	// deadline.
	MessageDeadline = "the work went on elsewhere and was not ended by its deadline"
)

const internalError = -32603 // JSON-RPC

// attend moves on a task that seems to have no runner, and reports whether it changed
// t. The first caller that finds a lease expired cannot tell a dead runner from an
// outage that both shared, so it only marks the task as suspected. A runner that is
// alive renews within the grace and so removes the mark. If the mark stands after the
// grace, the task is settled.
//
// It is a step like any other and is written like one: of all callers that notice, one
// succeeds, and settling the task fences the runner.
func (s *Store) attend(t *record, now time.Time) (changed bool) {
	switch {
	case t.Status != Working:
		return false
	case s.overtime(t, now):
		return true
	case !t.Lease.over(now):
		return false
	case t.Lease.IdleSince.IsZero():
		t.Lease.IdleSince = now
		return true
	case now.Before(s.idleEnough(t.Lease)):
		return false
	case t.CancelRequested:
		t.Status, t.settledNow = Cancelled, true
	case t.Lease.Detached:
		t.fail(MessageDeadline)
	case !t.Resumable:
		t.fail(MessageRunnerGone)
	default:
		return false // a runner is to acquire it
	}
	return true
}

// overtime settles a task that has been worked on, or has waited for a runner, until
// MaxTTL was over, and reports whether it did.
func (s *Store) overtime(t *record, now time.Time) bool {
	if end := s.mustEnd(&t.Task); end.IsZero() || now.Before(end) {
		return false
	}
	if t.CancelRequested {
		t.Status, t.settledNow = Cancelled, true
	} else {
		t.fail(MessageOvertime)
	}
	return true
}

// mustEnd returns the time by which t, which has or awaits a runner, must end. Zero: t
// has no such time, or it just expires, as the tasks of external jobs do.
func (s *Store) mustEnd(t *Task) time.Time {
	if t.Status != Working || s.opts.MaxTTL < 0 || t.Lease.Token == 0 && !t.Resumable {
		return time.Time{}
	}
	return t.CreatedAt.Add(s.opts.MaxTTL)
}

// fail settles t with an error of the store's own.
func (r *record) fail(message string) {
	r.Status, r.StatusMessage, r.settledNow = Failed, message, true
	r.Error = &Error{Code: internalError, Message: message}
}

// idleEnough returns the end of the grace of l, which is suspected to have no runner.
func (s *Store) idleEnough(l Lease) time.Time { return l.IdleSince.Add(wholeMillis(s.opts.Lease / 3)) }

// free reports whether a runner may acquire a working task that is under l.
func (s *Store) free(l Lease, now time.Time) bool {
	return l.Holder == "" || !l.IdleSince.IsZero() && !now.Before(s.idleEnough(l))
}

// waits reports whether t waits for a runner. While an offer lasts, a caller is
// expected to acquire t.
func (s *Store) waits(t *Task, now time.Time) bool {
	return t.Status == Working && s.free(t.Lease, now) && (t.Lease.ExpiresAt.IsZero() || t.Lease.over(now))
}

// Orphans yields, of all owners, the Resumable tasks of a service that wait for a
// runner: their runner did not renew the lease for a grace of a third of
// [Options.Lease] after a caller had found it expired, or the lease was released, or
// they have not had one. The service is that of [CreateParams], so that a program gets
// only tasks that it can run. Call Acquire to run one; another replica may be faster.
//
// Orphans also finds expired leases that other callers do not meet. So call it again
// and again, with a pause of a little more than a third of a lease, counted from the
// end of the loop: a lease that one call marks as suspected is yielded by the next.
//
// It yields (task, nil), or (zero, err) and then stops. It skips tasks that this
// version cannot read; if the backend cannot list some, it says so at the end, by an
// error that matches [taskstore.ErrCorrupt]. It reads a page at a time, and begins at
// random so that replicas that call it at the same time meet less often. Its cost grows
// only with the number of resumable tasks that have not ended, of all services.
func (s *Store) Orphans(ctx context.Context, service string) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		first := mathrand.IntN(len(buckets))
		var unlisted error
		for i := range len(buckets) {
			bucket := taskstore.Key{Owner: registryPrefix + string(buckets[(first+i)%len(buckets)])}
			for raw, err := range taskstore.All(ctx, s.backend, bucket) {
				var damaged *taskstore.CorruptError
				if errors.As(err, &damaged) {
					if damaged.Key.Task == "" {
						unlisted = err
					}
					continue
				}
				if err != nil {
					yield(Task{}, err)
					return
				}
				e, err := decodeEntry(raw.Data)
				if err != nil || e.service != service {
					continue // not for this version, or not for this service
				}
				t, waits, err := s.taskOf(ctx, raw, e)
				if err != nil {
					yield(Task{}, err)
					return
				}
				if waits && !yield(t, nil) {
					return
				}
			}
		}
		if unlisted != nil {
			yield(Task{}, unlisted)
		}
	}
}
