package tasks

import (
	"context"
	"errors"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// The Error.Message, and the StatusMessage, of a task that the store failed by itself.
// Its Error.Code is -32603, JSON-RPC's internal error.
const (
	// MessageRunnerGone: nobody renewed the lease, nor took the task over.
	MessageRunnerGone = "the server that ran this task is gone"
	// MessageOvertime: the task was still working MaxTTL after its creation.
	MessageOvertime = "the task ran for as long as it may"
	// MessageDeadline: nobody has ended the task, which was detached, by its deadline.
	MessageDeadline = "the work went on elsewhere and was not ended by its deadline"
)

const internalError = -32603 // JSON-RPC

// attend has a task that nobody seems to work on become what it has to, and reports
// whether that is another state. The first who finds a lease over cannot tell a runner
// that died from an outage that the two of them shared, so it only marks the task as
// suspected. A grace later, in which a runner that lives has renewed and so has taken
// the mark back, the task is settled.
//
// It is a step like any other and is written like one: of all who notice, one
// succeeds, and with a settled task the runner is fenced.
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
		return false // somebody is to acquire it
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

// mustEnd returns when t, which somebody runs or is to run, has to have ended. Zero:
// never, or it expires without a word, as the tasks of external jobs do.
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

// idleEnough returns when l, which is suspected to be nobody's, is taken for that.
func (s *Store) idleEnough(l Lease) time.Time { return l.IdleSince.Add(wholeMillis(s.opts.Lease / 3)) }

// free reports whether somebody may acquire a working task that is under l.
func (s *Store) free(l Lease, now time.Time) bool {
	return l.Holder == "" || !l.IdleSince.IsZero() && !now.Before(s.idleEnough(l))
}

// waits reports whether t waits for somebody to acquire it. For as long as an offer
// lasts, somebody is about to.
func (s *Store) waits(t *Task, now time.Time) bool {
	return t.Status == Working && s.free(t.Lease, now) && (t.Lease.ExpiresAt.IsZero() || t.Lease.over(now))
}

// Orphans yields, of all owners, the Resumable tasks of a service that wait for a
// runner: nobody renewed their lease for a grace of a third of [Options.Lease] after
// somebody had found it over, or it was released, or they never had one. The service is
// that of [CreateParams], so that no program is given tasks that it cannot run. Call
// Acquire to run one; another replica may be faster.
//
// Orphans is also who finds leases over where nobody else looks. So look again and
// again, with a pause of a little more than a third of a lease, counted from the end
// of the loop: what one look finds suspicious the next one yields.
//
// It yields (task, nil), or (zero, err) and then stops. Tasks that this version
// cannot read it leaves alone; of those that the backend cannot even list it says so
// at the end, by an error that matches [taskstore.ErrCorrupt]. It reads a page at a time, and begins at random so that
// replicas that look at the same time meet less. It costs by the number of resumable
// tasks that have not ended, of all services, and by nothing else.
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
