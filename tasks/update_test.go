package tasks

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestConcurrentUpdatesAreAllKept(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{})
		const writers, each = 64, 5
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					_, err := s.Update(ctx, owner, task.ID, func(t *Task) error {
						n, _ := strconv.Atoi(t.StatusMessage)
						t.StatusMessage = strconv.Itoa(n + 1)
						return nil
					})
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		got := get(t, s, task.ID)
		assert.Equal(t, strconv.Itoa(writers*each), got.StatusMessage)
		assert.Equal(t, uint64(1+writers*each), got.Revision)
		assert.Equal(t, taskstore.Version(1+writers*each), got.Version)
	})
}

func TestFirstTerminalWriteWins(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for range 10 {
			task, run := running(t, s)
			var winners atomic.Int64
			var winner atomic.Pointer[Task]
			var wg sync.WaitGroup
			for i := range 32 {
				wg.Go(func() {
					var got Task
					var err error
					switch i % 4 {
					case 0:
						got, err = run.Complete(ctx, raw(strconv.Itoa(i)))
					case 1:
						got, err = s.Fail(ctx, owner, task.ID, Error{Code: int64(i), Message: "m"})
					case 2:
						got, err = run.Cancelled(ctx)
					case 3:
						got, err = s.Update(ctx, owner, task.ID, func(t *Task) error {
							t.Status, t.Result = Completed, raw(strconv.Itoa(i))
							return nil
						})
					}
					if err == nil {
						winners.Add(1)
						winner.Store(&got)
						return
					}
					assert.ErrorIs(t, err, ErrTerminal)
				})
			}
			wg.Wait()
			require.Equal(t, int64(1), winners.Load())
			assert.Equal(t, *winner.Load(), get(t, s, task.ID))
		}
	})
}

func TestUpdateMayNotTouchTheRest(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{Request: raw(`{}`), Holder: "x"})
	for name, fn := range map[string]func(*Task){
		"ID":             func(t *Task) { t.ID = "x" },
		"Owner":          func(t *Task) { t.Owner = "x" },
		"CreatedAt":      func(t *Task) { t.CreatedAt = t.CreatedAt.Add(1) },
		"UpdatedAt":      func(t *Task) { t.UpdatedAt = t.UpdatedAt.Add(1) },
		"Request":        func(t *Task) { t.Request[0] = '[' },
		"InputRequests":  func(t *Task) { t.InputRequests = inputs("a") },
		"InputResponses": func(t *Task) { t.InputResponses = inputs("a") },
		"InputKeys":      func(t *Task) { t.InputKeys = []string{"a"} },
		"Resumable":      func(t *Task) { t.Resumable = true },
		"LostRuns":       func(t *Task) { t.LostRuns++ },
		"Service":        func(t *Task) { t.Service = "x" },
		"ExpiresAt":      func(t *Task) { t.ExpiresAt = t.ExpiresAt.Add(1) },
		"Lease":          func(t *Task) { t.Lease.Token++ },
		"Revision":       func(t *Task) { t.Revision++ },
		"Version":        func(t *Task) { t.Version++ },
	} {
		for _, update := range []func(func(*Task) error) (Task, error){
			func(fn func(*Task) error) (Task, error) { return s.Update(ctx, owner, task.ID, fn) },
			func(fn func(*Task) error) (Task, error) { return s.RunOf(task).Update(ctx, fn) },
		} {
			_, err := update(func(t *Task) error { fn(t); return nil })
			assert.ErrorIs(t, err, ErrInvalid, name)
			assert.ErrorContains(t, err, name)
		}
	}
	for name, fn := range map[string]func(*Task){
		"result while working":   func(t *Task) { t.Result = raw(`1`) },
		"error while working":    func(t *Task) { t.Error = &Error{Message: "m"} },
		"completed, no result":   func(t *Task) { t.Status = Completed },
		"completed, empty":       func(t *Task) { t.Status, t.Result = Completed, raw(``) },
		"completed, not JSON":    func(t *Task) { t.Status, t.Result = Completed, raw(`x`) },
		"failed, no error":       func(t *Task) { t.Status = Failed },
		"failed, data not JSON":  func(t *Task) { t.Status, t.Error = Failed, &Error{Message: "m", Data: raw(`x`)} },
		"failed with result too": func(t *Task) { t.Status, t.Error, t.Result = Failed, &Error{Message: "m"}, raw(`1`) },
		"poll interval":          func(t *Task) { t.PollInterval = 0 },
	} {
		_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { fn(t); return nil })
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
	boom := errors.New("boom")
	_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = "x"; return boom })
	assert.Equal(t, boom, err)
	assert.Equal(t, task, get(t, s, task.ID))
}

// A fn may put a whole Task together in the place of the present one. It cannot copy the
// idempotency key, which the record keeps all the same.
func TestUpdateByAWholeTaskKeepsTheIdempotencyKey(t *testing.T) {
	s := memoryStore(t, nil)
	p := CreateParams{Holder: "x", IdempotencyKey: "key"}
	task := create(t, s, p)
	whole := func(t *Task) error {
		*t = Task{
			ID: t.ID, Owner: t.Owner, Status: t.Status, StatusMessage: t.StatusMessage + "m", CreatedAt: t.CreatedAt,
			UpdatedAt: t.UpdatedAt, TTL: t.TTL, ExpiresAt: t.ExpiresAt, PollInterval: t.PollInterval, Lease: t.Lease,
			Revision: t.Revision, Version: t.Version,
		}
		return nil
	}
	_, err := s.Update(ctx, owner, task.ID, whole)
	require.NoError(t, err)
	_, err = s.RunOf(task).Update(ctx, whole)
	require.NoError(t, err)
	ended, err := s.Complete(ctx, owner, task.ID, raw(`1`))
	require.NoError(t, err)
	keys := dump(t, s, idempotencyKey(owner, ""))
	require.Len(t, keys, 1)
	assert.Equal(t, ended.ExpiresAt, keys[0].ExpiresAt)
	require.NoError(t, s.Delete(ctx, owner, task.ID))
	assert.Zero(t, keyRecords(t, s))
}

func TestUpdateGivesUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
		s := newStore(t, b, nil)
		task := create(t, s, CreateParams{})
		calls := 0
		b.do(func(k taskstore.Key, _ taskstore.Value, _ func() error) (bool, error) {
			calls++
			return true, &taskstore.VersionConflictError{Key: k, Expected: 1, Actual: 2}
		})
		_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
		var contention *ContentionError
		require.ErrorAs(t, err, &contention)
		assert.ErrorIs(t, err, ErrContention)
		assert.ErrorIs(t, err, taskstore.ErrVersionConflict)
		assert.Equal(t, calls, contention.Attempts)

		done, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err = s.Complete(done, owner, task.ID, raw(`1`))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A write with a lost answer reports its outcome if a read can tell it, or
// ErrOutcomeUnknown.
func TestLostAnswers(t *testing.T) {
	lost := errors.Join(taskstore.ErrOutcomeUnknown, errors.New("connection reset"))
	once := func(f func(write func() error)) func(taskstore.Key, taskstore.Value, func() error) (bool, error) {
		var n atomic.Int64
		return func(_ taskstore.Key, _ taskstore.Value, write func() error) (bool, error) {
			if n.Add(1) > 1 {
				return false, nil
			}
			f(write)
			return true, lost
		}
	}
	open := func(t *testing.T) (*script, *Store, Task, *Run) {
		b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
		s := newStore(t, b, nil)
		task, run := running(t, s)
		return b, s, task, run
	}
	other := func(b *script, task Task) { // somebody else writes, past the script
		_, err := newStore(t, b.StorageBackend, nil).Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage += "other "; return nil })
		require.NoError(t, err)
	}
	t.Run("Applied", func(t *testing.T) {
		b, s, task, run := open(t)
		b.do(once(func(write func() error) { require.NoError(t, write()) }))
		got, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(2), got.Version)
		assert.Equal(t, got, get(t, s, task.ID))
	})
	t.Run("NotApplied", func(t *testing.T) {
		b, s, task, run := open(t)
		b.do(once(func(func() error) {}))
		got, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(2), got.Version)
		assert.Equal(t, got, get(t, s, task.ID))
	})
	t.Run("AppliedLate", func(t *testing.T) { // after it was read back, before it is repeated
		b, s, task, _ := open(t)
		var late func() error
		var n atomic.Int64
		b.do(func(_ taskstore.Key, _ taskstore.Value, write func() error) (bool, error) {
			if n.Add(1) == 1 {
				late = write
				return true, lost
			}
			if late != nil {
				require.NoError(t, late())
				late = nil
			}
			return false, nil
		})
		got, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage += "x"; return nil })
		require.NoError(t, err)
		assert.Equal(t, "x", got.StatusMessage, "applied once")
		assert.Equal(t, taskstore.Version(2), got.Version)
	})
	t.Run("NotAppliedAndOvertaken", func(t *testing.T) {
		b, s, task, _ := open(t)
		b.do(once(func(func() error) { other(b, task) }))
		got, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage += "mine"; return nil })
		require.NoError(t, err)
		assert.Equal(t, "other mine", got.StatusMessage)
	})
	t.Run("CannotBeTold", func(t *testing.T) {
		for _, applied := range []bool{true, false} {
			b, s, task, _ := open(t)
			b.do(once(func(write func() error) {
				if applied {
					require.NoError(t, write())
				} else {
					other(b, task)
				}
				other(b, task)
			}))
			_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage += "mine"; return nil })
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		}
	})
	t.Run("Gone", func(t *testing.T) {
		b, s, task, _ := open(t)
		b.do(once(func(write func() error) {
			require.NoError(t, write())
			require.NoError(t, s.Delete(ctx, owner, task.ID))
		}))
		_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	})
	t.Run("Always", func(t *testing.T) {
		b, s, task, _ := open(t)
		b.do(func(taskstore.Key, taskstore.Value, func() error) (bool, error) { return true, lost })
		_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		_, _, err = s.Create(ctx, owner, CreateParams{})
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		_, _, err = s.Create(ctx, owner, CreateParams{IdempotencyKey: "k"})
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	})
	t.Run("Create", func(t *testing.T) {
		for _, applied := range []bool{true, false} {
			for _, p := range []CreateParams{{}, {IdempotencyKey: "k"}, {IdempotencyKey: "k", Resumable: true, Holder: "x"}} {
				b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
				s := newStore(t, b, nil)
				var lostOnce sync.Map // each write is lost, then repeated
				b.do(func(k taskstore.Key, _ taskstore.Value, write func() error) (bool, error) {
					if applied {
						require.NoError(t, write())
						return true, lost
					}
					if _, repeated := lostOnce.LoadAndDelete(k); repeated {
						return false, nil
					}
					lostOnce.Store(k, true)
					return true, lost
				})
				task, created, err := s.Create(ctx, owner, p)
				require.NoError(t, err)
				assert.True(t, created)
				assert.Equal(t, task, get(t, s, task.ID))
				page, _, err := s.List(ctx, owner, "", 10)
				require.NoError(t, err)
				assert.Len(t, page, 1)
				assert.Equal(t, 1, activeEntries(t, s))
			}
		}
	})
	t.Run("SettledInstead", func(t *testing.T) { // it must not pass for the write that was asked for
		synctest.Test(t, func(t *testing.T) {
			b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
			s := newStore(t, b, nil)
			task, _ := running(t, s)
			abandon(t, s)
			b.do(once(func(write func() error) { require.NoError(t, write()) }))
			got, err := s.Complete(ctx, owner, task.ID, raw(`1`))
			assert.ErrorIs(t, err, ErrTerminal)
			assert.Equal(t, Failed, got.Status)
		})
	})
}

// The state of a task at the moment of the write decides how the task ends: the runner
// sees a cancel that was acknowledged before.
func TestRunDecidesItsEndInTheWrite(t *testing.T) {
	for _, late := range []bool{true, false} {
		s, other, b := hookedStore(t, nil)
		task, run := running(t, s)
		require.False(t, run.Task().CancelRequested)
		if late { // after the first read
			b.onceBefore("write", isTask, func() error { _, err := other.Cancel(ctx, owner, task.ID); return err })
		} else {
			_, err := other.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
		}
		end := func(t *Task) error {
			if t.CancelRequested {
				t.Status = Cancelled
			} else {
				t.Status, t.Error = Failed, &Error{Code: 1, Message: "the handler failed"}
			}
			return nil
		}
		got, err := run.Update(ctx, end)
		require.NoError(t, err)
		assert.Equal(t, Cancelled, got.Status)
		assert.Nil(t, got.Error)
		assert.Equal(t, got, get(t, s, task.ID))

		task, run = running(t, s) // without a cancel
		got, err = run.Update(ctx, end)
		require.NoError(t, err)
		assert.Equal(t, Failed, got.Status)
		_, err = s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		assert.Equal(t, got, get(t, s, task.ID))
	}
}
