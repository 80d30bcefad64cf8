package tasks

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// runWrites are all methods of a Run that write.
func runWrites(r *Run) map[string]func() (Task, error) {
	return map[string]func() (Task, error){
		"Renew": func() (Task, error) { return r.Renew(ctx) },
		"Update": func() (Task, error) {
			return r.Update(ctx, func(t *Task) error { t.StatusMessage = "late"; return nil })
		},
		"SetStatusMessage": func() (Task, error) { return r.SetStatusMessage(ctx, "late") },
		"SetProgress":      func() (Task, error) { return r.SetProgress(ctx, Progress{Current: 1}, "late") },
		"SaveState":        func() (Task, error) { return r.SaveState(ctx, []byte("late")) },
		"Complete":         func() (Task, error) { return r.Complete(ctx, raw(`"late"`)) },
		"Fail":             func() (Task, error) { return r.Fail(ctx, Error{Message: "late"}) },
		"Cancelled":        func() (Task, error) { return r.Cancelled(ctx) },
		"RequireInput":     func() (Task, error) { return r.RequireInput(ctx, inputs("late")) },
		"Park":             func() (Task, error) { return r.Park(ctx, []byte("late"), inputs("late")) },
		"Extend":           func() (Task, error) { return r.Extend(ctx, time.Hour) },
		"Detach":           func() (Task, error) { _, err := r.Detach(ctx, 0, nil); return Task{}, err },
		"Ask":              func() (Task, error) { _, err := r.Ask(ctx, inputs("late")); return Task{}, err },
		"Release":          func() (Task, error) { return r.Release(ctx) },
	}
}

func TestRunWrites(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		assert.Equal(t, Lease{Holder: "runner", Token: 1, ExpiresAt: task.CreatedAt.Add(30 * time.Second)}, task.Lease)

		got, err := run.SetStatusMessage(ctx, "half\xff")
		require.NoError(t, err)
		assert.Equal(t, "half\uFFFD", got.StatusMessage)
		assert.Equal(t, uint64(2), got.Revision)
		assert.Equal(t, got, run.Task())

		state := []byte{0, 1, 2}
		got, err = run.SaveState(ctx, state)
		require.NoError(t, err)
		state[0] = 9
		assert.Equal(t, []byte{0, 1, 2}, get(t, s, task.ID).State)
		assert.Equal(t, []byte{0, 1, 2}, got.State)
		assert.Equal(t, uint64(2), got.Revision, "a checkpoint keeps the revision")

		got, err = run.Update(ctx, func(t *Task) error { t.PollInterval = 5 * time.Second; return nil })
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, got.PollInterval)

		got, err = run.Complete(ctx, raw(" [1, 2]\n"))
		require.NoError(t, err)
		assert.Equal(t, raw("[1, 2]"), got.Result)
		assert.Nil(t, got.State)
		assert.Equal(t, Lease{Token: 1}, got.Lease)
		assert.Equal(t, got, get(t, s, task.ID))
		assert.Equal(t, got, run.Task())
	})
}

func TestRenewalIsInvisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		for range 12 {
			time.Sleep(10 * time.Second)
			got, err := run.Renew(ctx)
			require.NoError(t, err)
			assert.Equal(t, task.Revision, got.Revision)
			assert.Equal(t, task.UpdatedAt, got.UpdatedAt)
			assert.WithinDuration(t, time.Now().Add(30*time.Second), got.Lease.ExpiresAt, time.Millisecond)
		}
		assert.Equal(t, Working, get(t, s, task.ID).Status)
	})
}

// A lease that has run out unnoticed is still the runner's.
func TestLateRunnerGoesOnIfUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		time.Sleep(time.Minute)
		_, err := run.Renew(ctx)
		require.NoError(t, err)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		time.Sleep(time.Minute)
		_, err = run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
	})
}

func TestAcquireIsExclusive(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Resumable: true})
		var winners atomic.Int64
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				run, err := s.Acquire(ctx, owner, task.ID, "me")
				if err == nil {
					winners.Add(1)
					assert.Equal(t, uint64(1), run.Task().Lease.Token)
				} else {
					assert.ErrorIs(t, err, ErrLeaseHeld)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, int64(1), winners.Load())
		for _, holder := range []string{"", string(make([]byte, 257)), "\xff"} {
			_, err := s.Acquire(ctx, owner, task.ID, holder)
			assert.ErrorIs(t, err, ErrInvalid)
		}
	})
}

// A runner that has lost its lease, in any way, cannot write any more.
func TestStaleRunnerIsFenced(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, s *Store, task Task, run *Run){
		"TakenOver": func(t *testing.T, s *Store, task Task, _ *Run) {
			abandon(t, s)
			run, err := s.Acquire(ctx, owner, task.ID, "runner") // even under the same name
			require.NoError(t, err)
			assert.Equal(t, uint64(2), run.Task().Lease.Token)
		},
		"Settled": func(t *testing.T, s *Store, task Task, run *Run) {
			_, err := s.backend.Delete(ctx, registryKey(owner, task.ID))
			require.NoError(t, err)
			abandon(t, s)
			_, err = s.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
		},
		"Parked": func(t *testing.T, s *Store, task Task, run *Run) {
			_, err := run.RequireInput(ctx, inputs("a"))
			require.NoError(t, err)
		},
		"Released": func(t *testing.T, s *Store, task Task, run *Run) {
			_, err := run.Release(ctx)
			require.NoError(t, err)
		},
		"AnsweredAndTakenOver": func(t *testing.T, s *Store, task Task, run *Run) {
			_, err := run.RequireInput(ctx, inputs("a"))
			require.NoError(t, err)
			_, err = s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
			require.NoError(t, err)
			_, err = s.Acquire(ctx, owner, task.ID, "other")
			require.NoError(t, err)
		},
		"Deleted": func(t *testing.T, s *Store, task Task, run *Run) {
			require.NoError(t, s.Delete(ctx, owner, task.ID))
		},
		"Expired": func(*testing.T, *Store, Task, *Run) { time.Sleep(25 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memoryStore(t, nil)
				task := create(t, s, CreateParams{Holder: "runner", Resumable: true})
				run := s.RunOf(task)
				lose(t, s, task, run)
				before, getErr := s.Get(ctx, owner, task.ID)
				for method, try := range runWrites(run) {
					_, err := try()
					assert.ErrorIs(t, err, ErrLeaseLost, method)
					if getErr != nil {
						assert.ErrorIs(t, err, ErrNotFound, method)
					}
				}
				after, _ := s.Get(ctx, owner, task.ID)
				assert.Equal(t, before, after)
			})
		})
	}
}

func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		_, err := run.Release(ctx)
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		run, err = s.Acquire(ctx, owner, task.ID, "next")
		require.NoError(t, err)
		_, err = run.Release(ctx)
		require.NoError(t, err)
		abandon(t, s)
		assert.Equal(t, Failed, get(t, s, task.ID).Status, "the abandoned task failed")

		task = create(t, s, CreateParams{Holder: "runner", Resumable: true})
		run = s.RunOf(task)
		assert.Empty(t, orphans(t, s))
		_, err = run.Release(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{task.ID}, orphans(t, s))

		task, run = running(t, s)
		_, err = s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		got, err := run.Release(ctx)
		require.NoError(t, err)
		assert.Equal(t, Cancelled, got.Status)
	})
}

func TestCancelIsCooperative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		got, err := s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		assert.Equal(t, Working, got.Status)
		assert.True(t, got.CancelRequested)
		assert.Equal(t, task.Revision+1, got.Revision)
		again, err := s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		assert.Equal(t, got, again, "a second request keeps the task as it is")
		got, err = run.Renew(ctx)
		require.NoError(t, err)
		assert.True(t, got.CancelRequested)
		got, err = run.Cancelled(ctx)
		require.NoError(t, err)
		assert.Equal(t, Cancelled, got.Status)

		// The runner may also finish.
		task, run = running(t, s)
		_, err = s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		got, err = run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, Completed, got.Status)

		// Or it asks, and then the task has no runner any more.
		task, run = running(t, s)
		_, err = s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		got, err = run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		assert.Equal(t, Cancelled, got.Status)
		assert.Empty(t, got.InputRequests)

		// Tasks without a runner: parked, unheld, answered, orphaned.
		for name, prepare := range map[string]func() Task{
			"unheld": func() Task { return create(t, s, CreateParams{}) },
			"parked": func() Task { return reach(t, s, InputRequired) },
			"answered": func() Task {
				task, run := running(t, s)
				_, err := run.RequireInput(ctx, inputs("q"))
				require.NoError(t, err)
				task, err = s.ProvideInput(ctx, owner, task.ID, inputs("q"), nil)
				require.NoError(t, err)
				require.NotZero(t, task.Lease.ExpiresAt, "it is offered")
				return task
			},
			"orphan": func() Task { task, _ := running(t, s); abandon(t, s); return task },
			"resumable orphan": func() Task {
				task := create(t, s, CreateParams{Holder: "x", Resumable: true})
				abandon(t, s)
				return task
			},
		} {
			got, err := s.Cancel(ctx, owner, prepare().ID)
			require.NoError(t, err, name)
			assert.Equal(t, Cancelled, got.Status, name)
		}
	})
}

// A Run that several goroutines use keeps the latest state, also if an older one arrives
// last.
func TestRunKnowsTheLatestState(t *testing.T) {
	s := memoryStore(t, nil)
	task, run := running(t, s)
	latest, err := run.SetStatusMessage(ctx, "later")
	require.NoError(t, err)
	run.keep(task)
	assert.Equal(t, latest, run.Task())
}

// A write that does not fit says so at once, also while somebody suspects the runner.
func TestWriteOfASuspectedRunnerThatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, task := fullRecord(t, 100)
		time.Sleep(31 * time.Second)
		suspected := get(t, s, task.ID)
		require.NotZero(t, suspected.Lease.IdleSince)
		begin := time.Now()
		_, err := s.RunOf(task).SaveState(ctx, make([]byte, 200))
		assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
		_, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.State = make([]byte, 200); return nil })
		assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
		time.Sleep(s.grace())
		assert.Equal(t, begin.Add(s.grace()), time.Now(), "and with no further attempt")
		assert.Equal(t, Failed, get(t, s, task.ID).Status)
	})
}
