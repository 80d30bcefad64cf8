package tasks

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// The rule that these tests hold: a replica takes a task from its runner only when a
// reader has found the lease over and the runner has let a grace pass since, without a
// renewal.

func TestManyReadersSuspectOnce(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, open(t), &Options{Lease: 3 * time.Second})
			task := create(t, s, CreateParams{Holder: "x", Resumable: true})
			time.Sleep(3200 * time.Millisecond)
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					switch i % 4 {
					case 0:
						_, err := s.Get(ctx, owner, task.ID)
						assert.NoError(t, err)
					case 1:
						_, _, err := s.List(ctx, owner, "", 10)
						assert.NoError(t, err)
					case 2:
						_, err := s.Acquire(ctx, owner, task.ID, "y")
						assert.ErrorIs(t, err, ErrLeaseHeld)
					case 3:
						for range s.Orphans(ctx, "") {
							assert.Fail(t, "the task is not yet an orphan")
						}
					}
				})
			}
			wg.Wait()
			got := get(t, s, task.ID)
			assert.False(t, got.Lease.IdleSince.IsZero())
			assert.Equal(t, task.Version+1, got.Version)
			task.Version, task.Lease.IdleSince, task.sum = got.Version, got.Lease.IdleSince, 0
			assert.Equal(t, task, got, "a suspicion keeps the task as it is")
		})
	}
}

func TestAnyWriteOfTheRunnerTakesASuspicionBack(t *testing.T) {
	for _, name := range []string{"Renew", "Update", "SetStatusMessage", "SaveState", "nothing new"} {
		synctest.Test(t, func(t *testing.T) {
			s := memoryStore(t, nil)
			task, run := running(t, s)
			time.Sleep(31 * time.Second)
			require.NotZero(t, get(t, s, task.ID).Lease.IdleSince)
			time.Sleep(9 * time.Second)
			write := runWrites(run)[name]
			if write == nil {
				write = func() (Task, error) { return run.SaveState(ctx, nil) }
			}
			got, err := write()
			require.NoError(t, err)
			assert.Zero(t, got.Lease.IdleSince, name)
			assert.Equal(t, got, get(t, memoryStoreOn(t, s, time.Hour), task.ID))
			time.Sleep(9 * time.Second) // the grace would be over
			assert.Equal(t, Working, get(t, s, task.ID).Status, name)
			abandon(t, s)
			assert.Equal(t, Failed, get(t, s, task.ID).Status, name)
		})
	}
}

// memoryStoreOn returns a store on the records of s that does not suspect runners: its
// clock is that much behind.
func memoryStoreOn(t testing.TB, s *Store, behind time.Duration) *Store {
	ahead := -behind
	return newStore(t, clocked{plain{s.backend}, &ahead}, &s.opts)
}

// An away backend fails every call while it is away.
func awayStore(t testing.TB, opts *Options) (s *Store, away *atomic.Bool) {
	away = new(atomic.Bool)
	s, _, b := hookedStore(t, opts)
	b.before = func(string, taskstore.Key, taskstore.Value, taskstore.Version) error {
		if away.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	return s, away
}

// work renews run until ctx ends, as a server does: at a third of the lease, soon
// again if that fails, and at once if a reader suspects it.
func work(ctx context.Context, s *Store, run *Run, working *sync.WaitGroup) {
	suspected := make(chan struct{}, 1)
	working.Go(func() {
		for ctx.Err() == nil {
			for t, err := range run.Changes(ctx) {
				if err == nil && !t.Lease.IdleSince.IsZero() {
					select {
					case suspected <- struct{}{}:
					default:
					}
				}
			}
		}
	})
	working.Go(func() {
		for pause := s.opts.Lease / 3; ; {
			select {
			case <-ctx.Done():
				return
			case <-suspected:
			case <-time.After(pause):
			}
			if _, err := run.Renew(ctx); err != nil {
				pause = time.Second
			} else {
				pause = s.opts.Lease / 3
			}
		}
	})
}

func TestOutageThatEverybodyHasEndsNoTask(t *testing.T) {
	for _, c := range []struct {
		alive bool
		polls time.Duration
	}{{true, time.Second}, {true, 37 * time.Second}, {false, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s, away := awayStore(t, nil)
			live, stop := context.WithCancel(ctx)
			var working sync.WaitGroup
			var all []Task
			for range 20 {
				task, run := running(t, s)
				all = append(all, task)
				if c.alive {
					work(live, s, run, &working)
				}
			}
			away.Store(true)
			time.Sleep(2 * s.opts.Lease)
			away.Store(false)
			for begin := time.Now(); time.Since(begin) < 4*s.opts.Lease; time.Sleep(c.polls) {
				for _, task := range all {
					get(t, s, task.ID) // it comes before the runner, or after
				}
			}
			failed := 0
			for _, task := range all {
				if get(t, s, task.ID).Status == Failed {
					failed++
				}
			}
			if c.alive {
				assert.Zero(t, failed)
			} else {
				assert.Equal(t, 20, failed, "their runners are gone")
			}
			stop()
			working.Wait()
		})
	}
}

func TestTaskOfADeadRunnerHasFailedAfterALeaseAndAHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		time.Sleep(10 * time.Second)
		_, err := run.Renew(ctx) // and dies
		require.NoError(t, err)
		died := time.Now()
		for get(t, s, task.ID).Status == Working {
			time.Sleep(s.opts.PollInterval)
		}
		assert.LessOrEqual(t, time.Since(died), s.opts.Lease*3/2)
		assert.Greater(t, time.Since(died), s.opts.Lease+s.grace())
	})
}

// A read has its result before it writes the suspicion, so it succeeds without that write.
func TestReadSucceedsIfASuspicionCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		task, _ := running(t, s)
		time.Sleep(31 * time.Second)
		boom := errors.New("read only")
		b.before = func(op string, _ taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
			if op == "write" {
				return boom
			}
			return nil
		}
		assert.Equal(t, task, get(t, s, task.ID))
		assert.Equal(t, []Task{task}, tasksOf(t, s))
		for got, err := range s.Changes(ctx, owner, task.ID) {
			require.NoError(t, err)
			assert.Equal(t, task, got)
			break
		}
		_, err := s.Acquire(ctx, owner, task.ID, "y")
		assert.ErrorIs(t, err, boom)
		_, err = s.Cancel(ctx, owner, task.ID)
		assert.ErrorIs(t, err, boom)

		b.onceBefore("write", isTask, func() error { return other.Delete(ctx, owner, task.ID) })
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, ErrNotFound, "it is known to be gone")

		task, _ = running(t, other)
		time.Sleep(31 * time.Second)
		b.onceBefore("write", isTask, func() error {
			key, err := taskKey(owner, task.ID)
			require.NoError(t, err)
			_, err = other.backend.Put(ctx, key, taskstore.Value{Data: []byte(`{"format":2}`)})
			require.NoError(t, err)
			return &taskstore.VersionConflictError{}
		})
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, ErrFormat, "a newer version has it by now")
		require.NoError(t, other.Delete(ctx, owner, task.ID))

		task, _ = running(t, other) // settled it would have to be
		abandon(t, other)
		b.onceBefore("write", isTask, func() error { return boom })
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, boom)
	})
}

func TestAcquireSuspectsBeforeItTakesALeaseOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, b := hookedStore(t, nil)
		acquire := func(id string) error { _, err := s.Acquire(ctx, owner, id, "y"); return err }
		for _, lost := range []bool{false, true} { // the answers of the suspicion and of the take-over
			task := create(t, s, CreateParams{Holder: "x", Resumable: true})
			lose := func() {
				b.before = nil
				if lost {
					b.onceBefore("write", isTask, func() error { return taskstore.ErrOutcomeUnknown })
				}
			}
			time.Sleep(30 * time.Second)
			assert.ErrorIs(t, acquire(task.ID), ErrLeaseHeld)
			assert.Equal(t, task, get(t, s, task.ID), "not over yet")
			time.Sleep(time.Millisecond)
			lose()
			assert.ErrorIs(t, acquire(task.ID), ErrLeaseHeld)
			assert.Equal(t, task.Version+1, get(t, s, task.ID).Version)
			time.Sleep(s.grace() - time.Millisecond)
			assert.ErrorIs(t, acquire(task.ID), ErrLeaseHeld)
			assert.Equal(t, task.Version+1, get(t, s, task.ID).Version)
			time.Sleep(time.Millisecond)
			lose()
			run, err := s.Acquire(ctx, owner, task.ID, "y")
			require.NoError(t, err)
			lease := run.Task().Lease
			assert.Equal(t, Lease{Holder: "y", Token: 2, ExpiresAt: lease.ExpiresAt}, lease)
			assert.WithinDuration(t, time.Now().Add(30*time.Second), lease.ExpiresAt, time.Second)
		}
	})
}

func TestOfferCanBeTakenUntilItsTaskIsSettled(t *testing.T) {
	for _, resumable := range []bool{true, false} {
		for after, want := range map[time.Duration]Status{
			0: Working, 29 * time.Second: Working, 31 * time.Second: Working, 39 * time.Second: Working, 42 * time.Second: Failed,
		} {
			synctest.Test(t, func(t *testing.T) {
				s := memoryStore(t, nil)
				task := create(t, s, CreateParams{Holder: "x", Resumable: resumable})
				_, err := s.RunOf(task).RequireInput(ctx, inputs("a"))
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				task, err = s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
				require.NoError(t, err)
				assert.Zero(t, task.Lease.IdleSince)
				assert.Empty(t, orphans(t, s), "somebody is about to go on with it")
				begin := time.Now()
				for time.Since(begin) < after {
					time.Sleep(time.Second)
					task = get(t, s, task.ID)
				}
				assert.Equal(t, after > 30*time.Second && task.Status == Working, !task.Lease.IdleSince.IsZero())
				_, err = s.Acquire(ctx, owner, task.ID, "y")
				if want == Working || resumable {
					require.NoError(t, err, "%v, resumable: %v", after, resumable)
				} else {
					assert.ErrorIs(t, err, ErrTerminal)
				}
			})
		}
	}
}

// A cancel that suspects the runner gives it the same grace.
func TestCancelOfASuspectedTask(t *testing.T) {
	for _, alive := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := memoryStore(t, nil)
			task := create(t, s, CreateParams{Holder: "x", Resumable: !alive})
			time.Sleep(31 * time.Second)
			got, err := s.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
			assert.Equal(t, Working, got.Status)
			assert.True(t, got.CancelRequested)
			assert.NotZero(t, got.Lease.IdleSince)
			assert.Equal(t, task.Version+1, got.Version, "both in one write")
			time.Sleep(s.grace() - time.Millisecond)
			if alive {
				got, err = s.RunOf(task).Complete(ctx, raw(`"in the end"`))
				require.NoError(t, err)
				assert.Equal(t, Completed, got.Status)
				return
			}
			assert.Equal(t, Working, get(t, s, task.ID).Status)
			time.Sleep(time.Millisecond)
			assert.Equal(t, Cancelled, get(t, s, task.ID).Status)
		})
	}
}

// A clock that steps back makes a lease no shorter. After a step forward over the lease's
// end a live runner still keeps its task.
func TestClockThatSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead time.Duration
		s := newStore(t, clocked{plain{taskstore.NewMemoryBackend(nil)}, &ahead}, nil)
		task, run := running(t, s)
		ahead = -10 * time.Second
		got, err := run.Renew(ctx)
		require.NoError(t, err)
		assert.Equal(t, task.Lease, got.Lease)
		assert.Equal(t, task.Version, got.Version, "the read writes no record")
		ahead = time.Minute
		suspected := get(t, s, task.ID)
		assert.NotZero(t, suspected.Lease.IdleSince)
		ahead = 0 // back before the lease's end: the suspicion stays, without effect
		time.Sleep(30 * time.Second)
		assert.Equal(t, suspected, get(t, s, task.ID))
		_, err = s.Acquire(ctx, owner, task.ID, "y")
		assert.ErrorIs(t, err, ErrLeaseHeld)
		got, err = run.Renew(ctx)
		require.NoError(t, err)
		assert.Equal(t, Lease{Holder: "runner", Token: 1, ExpiresAt: time.Now().UTC().Add(30 * time.Second)}, got.Lease)
	})
}
