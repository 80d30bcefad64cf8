package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Run is the work on a task under a lease. Each of its writes carries the fencing
// token and is refused with [ErrLeaseLost] once the lease is no longer the Run's own:
// another runner took over, the task was settled, parked or ended, or it does not exist
// any more. The clock does not matter to a write: a runner that is late still has the
// task until another caller writes.
//
// A write within a second of the task's last visible change, as the Run knows it, is one
// call of the backend; a later one is two, since it reads the task first. If another
// caller has written meanwhile, it is three. On a backend that is no [taskstore.Batcher]
// each write reads first. Renewals, checkpoints and Acquire are no
// visible changes.
//
// A Run does not renew the lease by itself: call Renew at a third of [Options.Lease].
// Its methods may be called by any number of goroutines at once. They return the task
// as written; the rules of [Store] hold for them too.
type Run struct {
	store *Store

	id, owner string
	token     uint64
	createdAt time.Time // with the token, tells the task from a later one of the same id

	mu    sync.Mutex
	last  Task // the latest state that it has read or written
	known bool // last is a state of the store, and not one that a caller has changed
}

// Acquire takes a working task over and returns the work on it. While another runner
// holds the lease, the error matches [ErrLeaseHeld]: until the lease has expired and a
// grace has passed without a renewal, see the package documentation. On a task that has
// ended, or that this call settled, the error matches [ErrTerminal]; on one that waits
// for answers, [ErrTransition]. Of any number of concurrent calls one succeeds. A
// holder is 1 to 256 bytes of UTF-8.
func (s *Store) Acquire(ctx context.Context, owner, id, holder string) (*Run, error) {
	if err := checkHolder(holder); err != nil {
		return nil, err
	}
	var held, lost bool
	var wait time.Duration
	t, err := s.change(ctx, owner, id, change{step: func(now time.Time, t *record) error {
		if t.Status != Working {
			return &TransitionError{From: t.Status, To: Working}
		}
		if held = !s.free(t.Lease, now); held {
			return nil // without an error, which would keep a new suspicion from being written
		}
		lost, wait = t.Lease.Holder != "", t.waited(now)
		if lost {
			t.LostRuns++
		}
		t.Lease = Lease{Holder: holder, Token: t.Lease.Token + 1, ExpiresAt: now.Add(s.opts.Lease)}
		return nil
	}})
	switch {
	case err != nil:
		return nil, err
	case held:
		return nil, ErrLeaseHeld
	}
	if o := s.opts.Observer; o != nil && o.Acquired != nil {
		lent := t
		o.Acquired(ctx, &lent, wait, lost)
	}
	return s.runOf(t, true), nil
}

// waited returns how long t, which waits for a runner, has done so at now: since its
// lease was found expired or was released, since its last answer, or since it was
// created.
func (t *Task) waited(now time.Time) time.Duration {
	since := t.Lease.IdleSince
	switch {
	case !since.IsZero():
	case t.Lease.Token == 0:
		since = t.CreatedAt
	default:
		since = t.UpdatedAt
	}
	return max(now.Sub(since), 0)
}

// RunOf returns the work on a task that Create made with a Holder and returned with
// created true. It does not call the backend and checks neither task nor lease: its
// writes carry the token in t. So do not use it on a task of another runner; the two
// would count as one. A Run of a t that its caller has changed reads the task before its
// first write.
func (s *Store) RunOf(t Task) *Run { return s.runOf(t, t.signed()) }

func (s *Store) runOf(t Task, known bool) *Run {
	return &Run{
		store: s, id: t.ID, owner: t.Owner, token: t.Lease.Token, createdAt: t.CreatedAt,
		last: t.clone(), known: known,
	}
}

// holds reports whether t, not ended, is under the lease of r.
func (r *Run) holds(t *Task) bool {
	return t.Lease.Holder != "" && t.Lease.Token == r.token && t.CreatedAt.Equal(r.createdAt)
}

// String returns the status and the revision, without personal data.
func (r *Run) String() string {
	t := r.Task()
	return fmt.Sprintf("Run(%s, revision %d)", t.Status, t.Revision)
}

// GoString is String; it keeps personal data out of %#v too.
func (r *Run) GoString() string { return r.String() }

// LogValue is String; it keeps personal data out of structured logs too.
func (r *Run) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Task returns the task as this Run last read or wrote it.
func (r *Run) Task() Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.clone()
}

// Renew extends the lease to [Options.Lease] from now, and the life of the record as
// far as the lease needs it. Revision and UpdatedAt stay, and callers in Wait or
// Changes do not wake. The returned task tells whether a cancel was requested.
//
// [Options.MaxTTL] after the task's creation Renew ends it: as failed with
// [MessageOvertime], or as cancelled if that was requested. It then returns the task
// with an error that matches [ErrLeaseLost] and [ErrTerminal], as it does if a reader
// was faster. Until then the other methods still accept the outcome of the work.
func (r *Run) Renew(ctx context.Context) (Task, error) { return r.Extend(ctx, r.store.opts.Lease) }

// Extend is Renew to d from now, for work that is renewed less often. If the task waits
// for answers, its lease is extended from the time of the question. If d is shorter
// than a millisecond or longer than 100 years, the error matches [ErrInvalid].
func (r *Run) Extend(ctx context.Context, d time.Duration) (Task, error) {
	if err := checkLease("d", d); err != nil {
		return Task{}, err
	}
	return r.change(ctx, func(now time.Time, t *record) error {
		if r.store.overtime(t, now) {
			return nil
		}
		if t.Status == InputRequired {
			now = t.Lease.IdleSince
		}
		if until := now.Add(d.Truncate(time.Millisecond)); until.After(t.Lease.ExpiresAt) {
			t.Lease.ExpiresAt = until
		}
		return nil
	})
}

func checkLease(argument string, d time.Duration) error {
	if d < time.Millisecond || d > maxDuration {
		return &InvalidError{Argument: argument, Reason: "it must be from a millisecond to 100 years"}
	}
	return nil
}

// Update is [Store.Update] under the lease. So fn can choose how the task ends by its
// state at the moment of the write, such as whether a cancel was requested. If fn fails
// or changes nothing on the state that the Run knows, it is called again on one that was
// read, which decides.
func (r *Run) Update(ctx context.Context, fn func(*Task) error) (Task, error) {
	return r.change(ctx, byCaller(fn))
}

// SetStatusMessage tells people how far the work is, and clears the progress in
// numbers. A message that is longer than MaxStatusMessageBytes is cut.
func (r *Run) SetStatusMessage(ctx context.Context, message string) (Task, error) {
	return r.SetProgress(ctx, Progress{}, message)
}

// SetProgress is SetStatusMessage with the progress in numbers. A negative number gives
// an error that matches [ErrInvalid].
func (r *Run) SetProgress(ctx context.Context, p Progress, message string) (Task, error) {
	return r.change(ctx, func(_ time.Time, t *record) error {
		t.Progress, t.StatusMessage = p, message
		return nil
	})
}

// SaveState keeps a checkpoint for the next runner of the task. Clients do not see it,
// and callers in Wait or Changes do not wake.
func (r *Run) SaveState(ctx context.Context, state []byte) (Task, error) {
	return r.change(ctx, func(_ time.Time, t *record) error {
		t.State = state
		return nil
	})
}

// Complete is [Store.Complete] under the lease.
func (r *Run) Complete(ctx context.Context, result json.RawMessage) (Task, error) {
	return r.change(ctx, complete(result))
}

// Fail is [Store.Fail] under the lease.
func (r *Run) Fail(ctx context.Context, e Error) (Task, error) { return r.change(ctx, fail(e)) }

// Cancelled ends the task as cancelled, whether or not that was requested.
func (r *Run) Cancelled(ctx context.Context) (Task, error) {
	return r.change(ctx, func(_ time.Time, t *record) error {
		t.Status = Cancelled
		return nil
	})
}

// RequireInput is [Store.RequireInput] under the lease. The Run is over, unless the task
// is detached.
func (r *Run) RequireInput(ctx context.Context, requests map[string]json.RawMessage) (Task, error) {
	return r.change(ctx, r.store.requireInput(requests))
}

// Park is SaveState and RequireInput in one write, so that the runner that goes on with
// the task finds the state that belongs to the answers. The Run is over, unless the
// task is detached.
func (r *Run) Park(ctx context.Context, state []byte, requests map[string]json.RawMessage) (Task, error) {
	ask := r.store.requireInput(requests)
	return r.change(ctx, func(now time.Time, t *record) error {
		t.State = state
		return ask(now, t)
	})
}

// Release gives the lease up and leaves the task working, for another runner to
// acquire. The Run is over. A Resumable task is at once among the Orphans, and its
// lease tells since when. Any other task is offered for [Options.Lease]; if no runner
// has acquired it by then and in the grace that follows, it is an orphan in the sense
// of the package documentation, and fails. If a cancel was requested, the task is
// cancelled instead. On a detached task the error matches [ErrInvalid].
func (r *Run) Release(ctx context.Context) (Task, error) {
	return r.change(ctx, func(now time.Time, t *record) error {
		if t.Lease.Detached {
			return &InvalidError{Argument: "Run", Reason: "its task is detached; end it, or detach it again"}
		}
		if t.Resumable {
			t.Lease = Lease{Token: t.Lease.Token, IdleSince: now}
		} else {
			t.Lease = r.store.offer(t, now)
		}
		return nil
	})
}

func (r *Run) change(ctx context.Context, st step) (Task, error) {
	t, err := r.store.change(ctx, r.owner, r.id, change{step: st, run: r})
	r.keep(t)
	return t, err
}

// reusable is the age up to which a Run changes the state that it knows, without reading
// it first: its version guards the write. A failover that loses acknowledged writes can
// repeat a version, so an older state is read anew, as other callers always do.
const reusable = time.Second

// guess returns the state that r knows if r may change it at now, else nil.
func (r *Run) guess(now time.Time) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known || now.Sub(r.last.UpdatedAt).Abs() > reusable {
		return nil
	}
	return &record{Task: r.last}
}

// keep makes Task return t from now on, unless it has a later state already.
func (r *Run) keep(t Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.Version > r.last.Version {
		r.last, r.known = t.clone(), true
	}
}
