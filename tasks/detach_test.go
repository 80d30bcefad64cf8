package tasks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// detached makes a task with work that goes on elsewhere, and opens it.
func detached(tb testing.TB, s *Store, p CreateParams, deadline time.Duration) (Ref, *Run) {
	tb.Helper()
	p.Holder = "handler"
	ref, err := s.RunOf(create(tb, s, p)).Detach(ctx, deadline, nil)
	require.NoError(tb, err)
	return ref, opened(tb, s, ref)
}

func opened(tb testing.TB, s *Store, ref Ref) *Run {
	tb.Helper()
	run, err := s.Open(ctx, ref)
	require.NoError(tb, err)
	return run
}

func TestDetachedWorkIsEndedByAnyHolderOfTheReference(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Holder: "handler", Resumable: true, Request: raw(`{"a":1}`)})
		handler := s.RunOf(task)
		_, err := handler.SaveState(ctx, []byte("the handler's own"))
		require.NoError(t, err)
		ref, err := handler.Detach(ctx, time.Minute, []byte("so far"))
		require.NoError(t, err)
		assert.Empty(t, registryEntriesOf(t, s, task.ID), "a detached task is not in the registry")
		for name, try := range runWrites(handler) {
			_, err := try()
			assert.ErrorIs(t, err, ErrLeaseLost, name)
		}
		other := newStore(t, s.backend, nil)
		worker := opened(t, other, ref)
		got := worker.Task()
		assert.Equal(t, "so far", string(got.State))
		assert.Equal(t, raw(`{"a":1}`), got.Request)
		assert.Equal(t, uint64(2), got.Lease.Token)
		assert.Equal(t, task.Revision, got.Revision, "clients do not see a detach")
		_, err = worker.SetStatusMessage(ctx, "half")
		require.NoError(t, err)
		_, err = worker.SaveState(ctx, []byte("further"))
		require.NoError(t, err)
		_, err = s.Acquire(ctx, owner, task.ID, "thief")
		assert.ErrorIs(t, err, ErrLeaseHeld)
		assert.Empty(t, orphans(t, s))
		again := opened(t, s, ref) // after a crash of the worker
		assert.Equal(t, "further", string(again.Task().State))
		_, err = again.Complete(ctx, raw(`"done"`))
		require.NoError(t, err)
		_, err = worker.Fail(ctx, Error{Message: "late"})
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, Completed, get(t, s, task.ID).Status)
	})
}

func TestAStaleReferenceIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, c := range map[string]struct {
			end  func(*Run) error
			want []error
		}{
			"ended":   {func(r *Run) error { _, err := r.Complete(ctx, raw(`1`)); return err }, []error{ErrLeaseLost, ErrTerminal}},
			"deleted": {func(r *Run) error { return s.Delete(ctx, owner, r.id) }, []error{ErrLeaseLost, ErrNotFound}},
			"handed on": {func(r *Run) error {
				_, err := r.Detach(ctx, 0, nil)
				return err
			}, []error{ErrLeaseLost}},
		} {
			ref, run := detached(t, s, CreateParams{}, 0)
			require.NoError(t, c.end(run), name)
			_, err := s.Open(ctx, ref)
			for _, want := range c.want {
				assert.ErrorIs(t, err, want, name)
			}
			if name == "handed on" {
				assert.NotErrorIs(t, err, ErrTerminal)
			}
			for write, try := range runWrites(run) {
				_, err := try()
				assert.ErrorIs(t, err, ErrLeaseLost, name+": "+write)
			}
		}
	})
}

// A cancel is a request while the work goes on. After the end it is without effect.
func TestTheFirstEndOfDetachedWorkWins(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		_, run := detached(t, s, CreateParams{}, 0)
		got, err := s.Cancel(ctx, owner, run.id)
		require.NoError(t, err)
		assert.Equal(t, Working, got.Status)
		got, err = run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, Completed, got.Status)
		for name, end := range map[string]func() (Task, error){
			"the same":  func() (Task, error) { return run.Complete(ctx, raw(`1`)) },
			"cancelled": func() (Task, error) { return run.Cancelled(ctx) },
		} {
			_, err := end()
			assert.ErrorIs(t, err, ErrLeaseLost, name)
		}
		late, err := s.Cancel(ctx, owner, run.id)
		require.NoError(t, err)
		assert.Equal(t, got.Version, late.Version)
		assert.Equal(t, Completed, late.Status)
	})
}

func TestSilenceUntilTheDeadlineFailsTheTask(t *testing.T) {
	for _, resumable := range []bool{false, true} {
		for _, cancelled := range []bool{false, true} {
			t.Run(fmt.Sprintf("resumable=%v,cancelled=%v", resumable, cancelled), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := memoryStore(t, nil)
					ref, run := detached(t, s, CreateParams{Resumable: resumable, TTL: time.Minute}, 2*time.Hour)
					id := run.Task().ID
					if cancelled {
						_, err := s.Cancel(ctx, owner, id)
						require.NoError(t, err)
					}
					time.Sleep(2 * time.Hour)
					assert.Equal(t, Working, get(t, s, id).Status, "far beyond a lease and TTL")
					abandon(t, s)
					assert.Empty(t, orphans(t, s))
					got := get(t, s, id)
					if cancelled {
						assert.Equal(t, Cancelled, got.Status)
					} else {
						assert.Equal(t, Failed, got.Status)
						assert.Equal(t, &Error{Code: -32603, Message: MessageDeadline}, got.Error)
					}
					_, err := run.Complete(ctx, raw(`1`))
					assert.ErrorIs(t, err, ErrLeaseLost)
					_, err = s.Open(ctx, ref)
					assert.ErrorIs(t, err, ErrTerminal)
				})
			})
		}
	}
}

func TestADeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{}, time.Minute)
		for range 10 {
			time.Sleep(50 * time.Second)
			_, err := run.Extend(ctx, time.Minute)
			require.NoError(t, err)
			assert.Equal(t, Working, get(t, s, run.id).Status)
		}
		before := run.Task().Lease.ExpiresAt
		got, err := run.Extend(ctx, time.Second)
		require.NoError(t, err)
		assert.Equal(t, before, got.Lease.ExpiresAt, "Extend keeps a later deadline")
		time.Sleep(61 * time.Second)
		assert.False(t, get(t, s, run.id).Lease.IdleSince.IsZero(), "suspected")
		got, err = run.SetStatusMessage(ctx, "I live") // late, but before a replica settles it
		require.NoError(t, err)
		assert.True(t, got.Lease.IdleSince.IsZero())
		for _, d := range []time.Duration{0, -1, time.Microsecond, maxDuration + 1} {
			_, err := run.Extend(ctx, d)
			assert.ErrorIs(t, err, ErrInvalid)
		}
	})
}

func TestATaskThatAsksIsNotHandedOn(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		ref, run := detached(t, s, CreateParams{}, 0)
		_, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		_, err = run.Detach(ctx, 0, nil)
		assert.ErrorIs(t, err, ErrTransition)
		opened(t, s, ref)
	})
}

func TestTheDefaultDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{TTL: 10 * time.Minute}, 0)
		assert.Equal(t, 10*time.Minute, time.Until(run.Task().Lease.ExpiresAt))
		endless := memoryStore(t, &Options{MaxTTL: -1, DefaultTTL: -1})
		_, without := running(t, endless)
		_, err := without.Detach(ctx, 0, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		_, err = without.Detach(ctx, -time.Second, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.False(t, get(t, endless, without.id).Lease.Detached)
		_, err = without.Detach(ctx, time.Hour, nil)
		assert.NoError(t, err)
	})
}

func TestMaxTTLEndsDetachedWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{}, 48*time.Hour)
		time.Sleep(24*time.Hour - time.Second)
		assert.Equal(t, Working, get(t, s, run.id).Status)
		time.Sleep(time.Second)
		assert.Equal(t, MessageOvertime, get(t, s, run.id).StatusMessage)
	})
}

// A Detach that fails for good leaves the task as it was.
func TestAFailedDetachKeepsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, is := range map[string]func(taskstore.Key) bool{
			"no secret": func(k taskstore.Key) bool { return k == secretKey }, "no task": isTask,
		} {
			s, other, b := hookedStore(t, nil)
			task, run := running(t, s)
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "write" && is(k) {
					return assert.AnError
				}
				return nil
			}
			_, err := run.Detach(ctx, 0, nil)
			assert.ErrorIs(t, err, assert.AnError, name)
			assert.Equal(t, task, get(t, other, task.ID), name)
			b.before = nil
			_, err = run.Renew(ctx)
			assert.NoError(t, err, name)
		}
	})
}
