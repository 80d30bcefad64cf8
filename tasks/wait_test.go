package tasks

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// onEachWatch runs test with hints, without a Watcher, with hints that all get
// lost, and with a watch that ends. slack is how long a change may go unseen.
func onEachWatch(t *testing.T, test func(t *testing.T, s *Store, slack time.Duration)) {
	for name, c := range map[string]struct {
		wrap  func(taskstore.StorageBackend) taskstore.StorageBackend
		slack time.Duration
	}{
		"Hints":     {func(b taskstore.StorageBackend) taskstore.StorageBackend { return b }, 0},
		"NoWatcher": {func(b taskstore.StorageBackend) taskstore.StorageBackend { return plain{b} }, 1300 * time.Millisecond},
		"Deaf":      {func(b taskstore.StorageBackend) taskstore.StorageBackend { return deaf{plain{b}} }, 6100 * time.Millisecond},
		"Broken":    {func(b taskstore.StorageBackend) taskstore.StorageBackend { return broken{plain{b}} }, 1300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, newStore(t, c.wrap(taskstore.NewMemoryBackend(nil)), nil), c.slack)
			})
		})
	}
}

// A broken backend cannot watch.
type broken struct{ plain }

func (broken) Watch(context.Context, taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) { yield(taskstore.Change{}, errors.ErrUnsupported) }
}

func TestWaitSeesAChange(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		task, run := running(t, s)
		start := time.Now()
		go func() {
			time.Sleep(10 * time.Second)
			_, err := run.Renew(ctx)
			assert.NoError(t, err)
			time.Sleep(7 * time.Second)
			_, err = run.SetStatusMessage(ctx, "on my way")
			assert.NoError(t, err)
		}()
		got, err := s.Wait(ctx, owner, task.ID, task.Revision)
		require.NoError(t, err)
		assert.Equal(t, "on my way", got.StatusMessage)
		assert.GreaterOrEqual(t, time.Since(start), 17*time.Second)
		assert.LessOrEqual(t, time.Since(start), 17*time.Second+slack)

		at := time.Now()
		got, err = s.Wait(ctx, owner, task.ID, 1) // seen already
		require.NoError(t, err)
		assert.Equal(t, uint64(2), got.Revision)
		ended, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		got, err = s.Wait(ctx, owner, task.ID, ended.Revision) // it stays so
		require.NoError(t, err)
		assert.Equal(t, ended, got)
		assert.Equal(t, at, time.Now())
	})
}

// A lease or a task runs out without a write. A waiting caller notices all the same.
func TestWaitSeesOrphansAndExpiry(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) {
		task, _ := running(t, s)
		start := time.Now()
		got, err := s.Wait(ctx, owner, task.ID, task.Revision)
		require.NoError(t, err)
		assert.Equal(t, Failed, got.Status)
		assert.LessOrEqual(t, time.Since(start), 40*time.Second+10*time.Millisecond, "a lease and the grace, by timers")

		task = create(t, s, CreateParams{TTL: time.Minute})
		start = time.Now()
		_, err = s.Wait(ctx, owner, task.ID, task.Revision)
		assert.ErrorIs(t, err, ErrNotFound)
		assert.LessOrEqual(t, time.Since(start), 61*time.Second)
	})
}

func TestChangesYieldsUntilTheEnd(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		task, run := running(t, s)
		go func() {
			for _, message := range []string{"one", "two"} {
				time.Sleep(10 * time.Second)
				_, err := run.SetStatusMessage(ctx, message)
				assert.NoError(t, err)
			}
			time.Sleep(10 * time.Second)
			_, err := run.Renew(ctx)
			assert.NoError(t, err)
			time.Sleep(10 * time.Second)
			_, err = run.Complete(ctx, raw(`1`))
			assert.NoError(t, err)
		}()
		var revisions []uint64
		for got, err := range s.Changes(ctx, owner, task.ID) {
			require.NoError(t, err)
			revisions = append(revisions, got.Revision)
		}
		assert.Equal(t, []uint64{1, 2, 3, 4}, revisions)
	})
}

// Renewals are hinted like any write, and leave waiting callers asleep.
func TestRenewalWakesNoWaiter(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) {
		task, run := running(t, s)
		done, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		go func() {
			for done.Err() == nil {
				time.Sleep(10 * time.Second)
				_, _ = run.Renew(ctx)
				_, _ = run.SaveState(ctx, []byte(time.Now().String()))
			}
		}()
		_, err := s.Wait(done, owner, task.ID, task.Revision)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(20 * time.Second)
	})
}

func TestWaitThatEndsEarlyLeavesNoGoroutine(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) { // synctest fails if a goroutine is left
		task := create(t, s, CreateParams{})
		for range 200 {
			for _, err := range s.Changes(ctx, owner, task.ID) {
				require.NoError(t, err)
				break
			}
			done, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Millisecond, cancel)
			_, err := s.Wait(done, owner, task.ID, task.Revision)
			assert.ErrorIs(t, err, context.Canceled)
		}
		go func() {
			time.Sleep(time.Minute)
			assert.NoError(t, s.Delete(ctx, owner, task.ID))
		}()
		_, err := s.Wait(ctx, owner, task.ID, task.Revision)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

// A lingering backend takes its time to end a watch.
type lingering struct {
	plain
	watching *atomic.Int64
}

func (l lingering) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		l.watching.Add(1)
		defer l.watching.Add(-1)
		for yield(taskstore.Change{Key: k, Resync: true}, nil) && ctx.Err() == nil {
			time.Sleep(time.Second)
		}
	}
}

func TestTheWatchIsOverWhenTheLoopIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lingering{plain{taskstore.NewMemoryBackend(nil)}, new(atomic.Int64)}
		s := newStore(t, b, nil)
		task := create(t, s, CreateParams{})
		go func() {
			time.Sleep(10 * time.Second)
			_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = "x"; return nil })
			assert.NoError(t, err)
		}()
		watching := []int64{0, 1} // the first state comes before the watch
		for range s.Changes(ctx, owner, task.ID) {
			synctest.Wait()
			assert.Equal(t, watching[0], b.watching.Load())
			if watching = watching[1:]; len(watching) == 0 {
				break
			}
		}
		assert.Zero(t, b.watching.Load())
	})
}

func TestWaitOnEachBackend(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		var completing sync.WaitGroup
		defer completing.Wait()
		completing.Go(func() {
			time.Sleep(200 * time.Millisecond) // most likely Wait waits by then
			_, err := run.Complete(ctx, raw(`1`))
			assert.NoError(t, err)
		})
		start := time.Now()
		got, err := s.Wait(ctx, owner, task.ID, task.Revision)
		require.NoError(t, err)
		assert.Equal(t, Completed, got.Status)
		assert.Less(t, time.Since(start), 3*time.Second, "by hint, not by poll")
	})
}
