package tasks

import (
	"context"
	"errors"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// watchedPolls is how many poll intervals pass between two reads of a task that the
// backend gives hints about, since hints can get lost unnoticed.
const watchedPolls = 5

// Wait returns the task as soon as its Revision differs from revision: at once if it
// differs already or if the task has ended, as an ended task does not change. A task
// that does not exist, or that expires meanwhile, gives [ErrNotFound]. Saved states,
// renewed leases and take-overs do not wake Wait. An orphan is settled when its lease
// and the grace after that are over. For a failing backend see Changes.
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
// another Revision, or with another token in its lease, as another runner took the task
// over. It does not yield renewed leases and saved states. States that follow each
// other fast may be left out; the last one is always yielded.
//
// The loop ends after a terminal state, or with an error: [ErrNotFound] when the task
// does not exist any more, that of ctx when it is done, or a permanent one, which
// matches [ErrFormat], [taskstore.ErrCorrupt], [taskstore.ErrClosed], [ErrInvalid],
// [taskstore.ErrInvalidKey] or [taskstore.ErrInvalidArgument]. After any other error,
// such as a lost connection, it retries once per poll interval until ctx is done: set a
// deadline to notice an outage.
//
// If the backend is a [taskstore.Watcher], its hints tell Changes when to read. Changes
// also polls, every few poll intervals of [Options] and, without hints, every one, and
// reads when the lease, the grace after it or the task is over. It leaves no goroutine
// behind when the loop has ended.
func (s *Store) Changes(ctx context.Context, owner, id string) iter.Seq2[Task, error] {
	look := func() (Task, error) { return s.Get(ctx, owner, id) }
	return s.follow(ctx, owner, id, look, func(a, b *Task) bool {
		return a.Revision != b.Revision || a.Lease.Token != b.Lease.Token
	})
}

// Changes is [Store.Changes] for the runner of the task. It also yields the task when a
// caller begins to suspect that its runner is gone, so that the runner can renew at
// once, and when the suspicion ends; see [Lease]. It only reads: it neither suspects
// nor settles. Task returns the state that it has read.
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

// follow yields the task that look returns, then each state that differs from the one
// before, until the task ends.
func (s *Store) follow(ctx context.Context, owner, id string, look func() (Task, error), differ func(a, b *Task) bool) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		key, err := taskKey(owner, id)
		if err != nil {
			yield(Task{}, err)
			return
		}
		var hints *hints // from the first pause on, which most callers do not reach
		defer func() { hints.stop() }()
		var seen Task
		for {
			t, err := look()
			if done := ctx.Err(); err != nil && done != nil && !errors.Is(err, done) {
				err = done // the cause of any other failure
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
				// The first hint is a Resync, so a change before the watch is seen.
				hints = s.watch(ctx, key)
			}
			if err := s.pause(ctx, &seen, hints, err != nil); err != nil {
				yield(Task{}, err)
				return
			}
		}
	}
}

// isFinal reports whether a retry after err is of no use.
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

// outline returns the fields that tell states of t apart and when to read again,
// without payloads.
func (t *Task) outline() Task {
	return Task{
		Status: t.Status, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Resumable: t.Resumable,
		Lease: t.Lease, Revision: t.Revision, Version: t.Version,
	}
}

// untilDue returns how long after now time alone changes t, at most interval.
func (s *Store) untilDue(t *Task, now time.Time, interval time.Duration) time.Duration {
	for _, end := range []time.Time{t.ExpiresAt, t.Lease.ExpiresAt, s.idleEnough(t.Lease), s.mustEnd(t)} {
		if left := end.Sub(now); !end.IsZero() && left >= 0 {
			interval = min(interval, left+time.Millisecond)
		}
	}
	return interval
}

// pause waits until t is to be read again; failed says that the last read failed.
func (s *Store) pause(ctx context.Context, t *Task, hints *hints, failed bool) error {
	interval := s.opts.PollInterval
	if hints.alive() && !failed {
		interval = min(interval, maxDuration/watchedPolls) * watchedPolls
	}
	// Jitter of a fifth spreads the callers that wait for one task.
	interval += time.Duration((mathrand.Float64() - 0.5) * 0.4 * float64(interval))
	if !failed {
		if now, err := s.now(ctx); err != nil {
			interval = min(interval, s.opts.PollInterval) // the next read reports the failure
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
			hints.ended = nil // read once more, from now on at the pace without hints
			return nil
		}
	}
}

// hints holds the latest hint about one task.
type hints struct {
	wake   chan taskstore.Change // capacity 1
	ended  chan struct{}         // closed when the watch is over; nil once pause has seen that
	cancel context.CancelFunc
	done   chan struct{}
}

// watch starts to watch key. Without a Watcher hints do not come.
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
				return // polling goes on, and reports a permanent failure
			}
			if c.Resync || c.Key == key {
				h.hint(c)
			}
		}
	}()
	return h
}

// hint replaces an older hint that pause has not taken. Only one goroutine calls it.
func (h *hints) hint(c taskstore.Change) {
	select {
	case old := <-h.wake:
		c.Resync = c.Resync || old.Resync
	default:
	}
	h.wake <- c
}

// alive reports whether hints may come.
func (h *hints) alive() bool { return h.ended != nil }

// stop ends the watch and waits for its goroutine.
func (h *hints) stop() {
	if h != nil && h.cancel != nil {
		h.cancel()
		<-h.done
	}
}
