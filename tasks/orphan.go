package tasks

import (
	"context"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// What a task says whose runner is gone.
const (
	orphanCode    = -32603 // JSON-RPC: internal error
	orphanMessage = "the server that ran this task is gone"
)

// settle makes of a task whose runner is gone what it has to become, and reports
// whether it did. It is a step like any other and is written like one: of all who
// notice, one succeeds, and with that the runner is fenced.
func settle(t *record, now time.Time) bool {
	switch {
	case t.Status.Terminal():
		return false
	case t.CancelRequested && !t.Lease.live(now):
		t.Status = Cancelled
		return true
	case t.Status == Working && t.Lease.over(now) && !t.Resumable:
		t.Status, t.StatusMessage = Failed, orphanMessage
		t.Error = &Error{Code: orphanCode, Message: orphanMessage}
		return true
	}
	return false
}

// waits reports whether t waits for somebody to acquire it.
func (t *Task) waits(now time.Time) bool {
	return t.Status == Working && (t.Lease.ExpiresAt.IsZero() || t.Lease.over(now))
}

// Orphans yields, of all owners, the Resumable tasks that wait for a runner: their
// lease is over or was released, or they never had one. Call Acquire to run one;
// another replica may be faster. It reads a page at a time, and begins at random
// so that replicas that look at the same time meet less.
//
// It yields (task, nil), or (zero, err) and then stops. Tasks that this version
// cannot read it leaves alone. It costs by the number of resumable tasks that
// have not ended, and by nothing else.
func (s *Store) Orphans(ctx context.Context) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		first := mathrand.IntN(len(buckets))
		for i := range len(buckets) {
			bucket := taskstore.Key{Owner: registryPrefix + string(buckets[(first+i)%len(buckets)])}
			for raw, err := range taskstore.All(ctx, s.backend, bucket) {
				if err != nil {
					yield(Task{}, err)
					return
				}
				t, waits, err := s.taskOf(ctx, raw)
				if err != nil {
					yield(Task{}, err)
					return
				}
				if waits && !yield(t, nil) {
					return
				}
			}
		}
	}
}
