package tasks

import (
	"context"
	"errors"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// watchedPolls is how many poll intervals pass between two looks at a task that
// the backend gives hints about. A hint can get lost without anybody noticing.
const watchedPolls = 5

// Wait returns the task as soon as its Revision is not revision, at once if it is
// another already or if the task has ended: then there is nothing to wait for. A
// task that is gone, or that expires meanwhile, gives [ErrNotFound]. Saved states,
// renewed leases and take-overs wake nobody. An orphan is settled when its lease, and the
// grace after that, is over. What a failing backend means is said at Changes.
func (s *Store) Wait(ctx context.Context, owner, id string, revision uint64) (Task, error) {
	var last Task
	for t, err := range s.Changes(ctx, owner, id) {
		if err != nil {
			return Task{}, err
		}
		if last = t; t.Revision != revision {
			break
		}
	}
	return last, nil
}

// Changes yields the task as it is, then each newer state that it sees: one with
// another Revision, or with another token in its lease, since somebody took the
// task over. Renewed leases and saved states it does not yield. States that follow
// each other fast may be left out, the last one never is.
//
// The loop ends after a terminal state, or with an error: [ErrNotFound] when the
// task is gone, that of ctx when it is done, or one that no time heals, which
// match [ErrFormat], [taskstore.ErrCorrupt], [taskstore.ErrClosed], [ErrInvalid],
// [taskstore.ErrInvalidKey] or [taskstore.ErrInvalidArgument]. With any other, such
// as a lost connection, it looks again, once per poll interval, until ctx is done:
// set a deadline where an outage is to be noticed.
//
// Where the backend is a [taskstore.Watcher] its hints say when to look. Hints
// are never relied on: it looks every few poll intervals of [Options] anyway,
// every one where there are no hints, and when the lease, the grace after it or the
// task is over. Nothing is left when the loop has ended.
func (s *Store) Changes(ctx context.Context, owner, id string) iter.Seq2[Task, error] {
	look := func() (Task, error) { return s.Get(ctx, owner, id) }
	return s.follow(ctx, owner, id, look, func(a, b *Task) bool {
		return a.Revision != b.Revision || a.Lease.Token != b.Lease.Token
	})
}

// Changes is [Store.Changes] for the runner of the task. It yields the task also when
// somebody begins to suspect that nobody runs it, so that the runner can renew at once,
// and when that is over; see [Lease]. What it reads it leaves as it is: it neither
// suspects nor settles. Task returns what it has read.
func (r *Run) Changes(ctx context.Context) iter.Seq2[Task, error] {
	look := func() (Task, error) {
		key, err := taskKey(r.owner, r.id)
		if err != nil {
			return Task{}, err
		}
		stored, err := r.store.read(ctx, key)
		if err != nil {
			return Task{}, err
		}
		r.keep(stored.Task)
		return stored.Task, nil
	}
	return r.store.follow(ctx, r.owner, r.id, look, func(a, b *Task) bool {
		return a.Revision != b.Revision || a.Lease.Token != b.Lease.Token || !a.Lease.IdleSince.Equal(b.Lease.IdleSince)
	})
}

// follow yields what look returns of a task, then each state that differs from the one
// before, until the task ends.
func (s *Store) follow(ctx context.Context, owner, id string, look func() (Task, error), differ func(a, b *Task) bool) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		key, err := taskKey(owner, id)
		if err != nil {
			yield(Task{}, err)
			return
		}
		var hints *hints // from the first pause on: most who ask need none
		defer func() { hints.stop() }()
		var seen Task
		for {
			t, err := look()
			if done := ctx.Err(); err != nil && done != nil && !errors.Is(err, done) {
				err = done // whatever else failed because of that
			}
			switch {
			case err != nil && isFinal(ctx, err):
				yield(Task{}, err)
				return
			case err == nil:
				if !t.CreatedAt.Equal(seen.CreatedAt) || differ(&t, &seen) {
					if !yield(t, nil) || t.Status.Terminal() {
						return
					}
				}
				seen = t.outline()
			}
			if hints == nil {
				// Its first hint is a Resync, so what changes before it is seen.
				hints = s.watch(ctx, key)
			}
			if err := s.pause(ctx, &seen, hints, err != nil); err != nil {
				yield(Task{}, err)
				return
			}
		}
	}
}

// isFinal reports whether to look again after err is of no use.
func isFinal(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	for _, final := range []error{
		ErrNotFound, ErrFormat, taskstore.ErrCorrupt, taskstore.ErrClosed,
		ErrInvalid, taskstore.ErrInvalidKey, taskstore.ErrInvalidArgument,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// outline returns what tells states of t apart, and when to look again: no payload.
func (t *Task) outline() Task {
	return Task{
		Status: t.Status, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Resumable: t.Resumable,
		Lease: t.Lease, Revision: t.Revision, Version: t.Version,
	}
}

// untilDue returns how long it is at now until time alone makes t another, at most
// interval.
func (s *Store) untilDue(t *Task, now time.Time, interval time.Duration) time.Duration {
	for _, end := range []time.Time{t.ExpiresAt, t.Lease.ExpiresAt, s.idleEnough(t.Lease), s.mustEnd(t)} {
		if left := end.Sub(now); !end.IsZero() && left >= 0 {
			interval = min(interval, left+time.Millisecond)
		}
	}
	return interval
}

// pause waits until it is time to look at t again; failed says that the last look
// failed.
func (s *Store) pause(ctx context.Context, t *Task, hints *hints, failed bool) error {
	interval := s.opts.PollInterval
	if hints.alive() && !failed {
		interval = min(interval, maxDuration/watchedPolls) * watchedPolls
	}
	// A fifth more or less, so that those who wait for one task spread.
	interval += time.Duration((mathrand.Float64() - 0.5) * 0.4 * float64(interval))
	if !failed {
		if now, err := s.now(ctx); err != nil {
			interval = min(interval, s.opts.PollInterval) // the next look tells what is wrong
		} else {
			interval = s.untilDue(t, now, interval)
		}
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case c := <-hints.wake:
			if c.Resync || c.Version != t.Version {
				return nil
			}
		case <-hints.ended:
			hints.ended = nil // look once more, from now on at the pace without hints
			return nil
		}
	}
}

// hints are those of one task, the latest only.
type hints struct {
	wake   chan taskstore.Change // holds one
	ended  chan struct{}         // closed when the watch is over; nil once that is noticed
	cancel context.CancelFunc
	done   chan struct{}
}

// watch starts to watch key. Without a Watcher there are no hints.
func (s *Store) watch(ctx context.Context, key taskstore.Key) *hints {
	watcher, ok := taskstore.As[taskstore.Watcher](s.backend)
	if !ok {
		return &hints{}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	h := &hints{wake: make(chan taskstore.Change, 1), ended: over, done: over, cancel: cancel}
	go func() {
		defer close(over)
		for c, err := range watcher.Watch(ctx, key) {
			if err != nil {
				return // polling goes on; whatever is wrong for good it reports
			}
			if c.Resync || c.Key == key {
				h.hint(c)
			}
		}
	}()
	return h
}

// hint puts c in the place of an older hint that nobody has taken. There is one
// goroutine that does so.
func (h *hints) hint(c taskstore.Change) {
	select {
	case old := <-h.wake:
		c.Resync = c.Resync || old.Resync
	default:
	}
	h.wake <- c
}

// alive reports whether there may be hints.
func (h *hints) alive() bool { return h.ended != nil }

// stop ends the watch and waits until nothing of it is left.
func (h *hints) stop() {
	if h != nil && h.cancel != nil {
		h.cancel()
		<-h.done
	}
}
