package tasks

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// countedStore returns a store that counts the calls of its backend.
func countedStore(t *testing.T) (*Store, func() int64) {
	c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
	return newStore(t, c, nil), func() int64 { return c.calls.Swap(0) }
}

// A Run writes for a second over the state that it knows; an older one it reads anew.
func TestRunChangesAYoungStateWithoutARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := countedStore(t)
		run := s.RunOf(create(t, s, CreateParams{Holder: "x"}))
		for _, c := range []struct {
			age  time.Duration
			want int64
		}{{time.Second, 1}, {time.Second + time.Millisecond, 2}, {0, 1}} {
			time.Sleep(c.age)
			calls()
			_, err := run.SetStatusMessage(ctx, c.age.String())
			require.NoError(t, err)
			assert.Equal(t, c.want, calls(), c.age)
		}
		assert.Equal(t, "0s", get(t, s, run.id).StatusMessage)
	})
}

// Another caller's write is seen by the change, by its error, and by a change that leaves
// all as it is.
func TestRunSeesWhatAnotherCallerWrote(t *testing.T) {
	refusal := errors.New("not cancelled yet")
	for name, try := range map[string]func(run *Run) (Task, error){
		"a change": func(run *Run) (Task, error) {
			return run.Update(ctx, func(t *Task) error {
				if t.StatusMessage = "late"; t.CancelRequested {
					t.StatusMessage = "in time"
				}
				return nil
			})
		},
		"an error": func(run *Run) (Task, error) {
			return run.Update(ctx, func(t *Task) error {
				if !t.CancelRequested {
					return refusal
				}
				t.StatusMessage = "in time"
				return nil
			})
		},
		"no change": func(run *Run) (Task, error) {
			return run.Update(ctx, func(t *Task) error {
				if t.CancelRequested {
					t.StatusMessage = "in time"
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, s *Store) {
				task, run := running(t, s)
				_, err := s.Cancel(ctx, owner, task.ID)
				require.NoError(t, err)
				got, err := try(run)
				require.NoError(t, err)
				assert.Equal(t, "in time", got.StatusMessage)
				assert.True(t, got.CancelRequested)
				assert.Equal(t, got, get(t, s, task.ID))
			})
		})
	}
}

// A Task is the caller's own copy: RunOf reads the record in the place of a Task that the
// caller has changed or put together by hand.
func TestRunOfAChangedTaskReadsTheRecord(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(t *Task)
		calls int64
	}{
		"nothing":          {func(*Task) {}, 1},
		"Request":          {func(t *Task) { t.Request = nil }, 2},
		"Request in place": {func(t *Task) { t.Request[2] = 'N' }, 2},
		"TTL":              {func(t *Task) { t.TTL *= 2 }, 2},
		"ExpiresAt":        {func(t *Task) { t.ExpiresAt = t.ExpiresAt.Add(time.Minute) }, 2},
		"Service":          {func(t *Task) { t.Service = "other" }, 2},
		"Resumable":        {func(t *Task) { t.Resumable = true }, 2},
		"Holder":           {func(t *Task) { t.Lease.Holder = "other" }, 2},
		"State":            {func(t *Task) { t.State = []byte("other") }, 2},
		"by hand": {func(t *Task) {
			*t = Task{
				ID: t.ID, Owner: t.Owner, Status: t.Status, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
				TTL: t.TTL, ExpiresAt: t.ExpiresAt, PollInterval: t.PollInterval, Request: t.Request, Lease: t.Lease,
				Revision: t.Revision, Version: t.Version,
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, calls := countedStore(t)
			task := create(t, s, CreateParams{Holder: "x", Request: raw(`{"a":1}`), IdempotencyKey: "key"})
			want := get(t, s, task.ID)
			c.alter(&task)
			run := s.RunOf(task)
			calls()
			got, err := run.SetProgress(ctx, Progress{Current: 1}, "")
			require.NoError(t, err)
			assert.Equal(t, c.calls, calls())
			want.Progress, want.UpdatedAt, want.Revision, want.Version, want.sum = got.Progress, got.UpdatedAt, 2, 2, 0
			assert.Equal(t, want, got)
			assert.Equal(t, want, get(t, s, task.ID))

			calls()
			ended, err := run.Complete(ctx, raw(`1`))
			require.NoError(t, err)
			assert.EqualValues(t, 1, calls(), "by now the Run knows the state")
			keys := dump(t, s, idempotencyKey(owner, ""))
			require.Len(t, keys, 1)
			assert.Equal(t, ended.ExpiresAt, keys[0].ExpiresAt, "the key ends with the task")
		})
	}
}

// A Run of Acquire or Open knows the state that it has written or read.
func TestRunOfAcquireAndOpenWritesWithoutARead(t *testing.T) {
	s, calls := countedStore(t)
	task := create(t, s, CreateParams{})
	acquired, err := s.Acquire(ctx, owner, task.ID, "x")
	require.NoError(t, err)
	calls()
	_, err = acquired.SetStatusMessage(ctx, "half")
	require.NoError(t, err)
	assert.EqualValues(t, 1, calls(), "Acquire")
	ref, err := acquired.Detach(ctx, time.Hour, nil)
	require.NoError(t, err)
	opened, err := s.Open(ctx, ref)
	require.NoError(t, err)
	calls()
	_, err = opened.Complete(ctx, raw(`1`))
	require.NoError(t, err)
	assert.EqualValues(t, 1, calls(), "Open")
}

// A Task that a Run has returned, or given to fn, and the bytes given to it, are the
// caller's to change.
func TestRunKeepsItsOwnCopy(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{Holder: "x", Request: raw(`{"a":1}`)})
	run := s.RunOf(task)
	task.Request[2] = 'b'
	state := []byte("state")
	got, err := run.SaveState(ctx, state)
	require.NoError(t, err)
	state[0], got.State[1], got.Request[2] = 'X', 'X', 'X'
	known := run.Task()
	known.State[2], known.Request[2] = 'X', 'X'
	_, err = run.Update(ctx, func(t *Task) error { t.State[3], t.Request[3] = 'X', 'X'; return ErrInvalid })
	require.ErrorIs(t, err, ErrInvalid)
	got, err = run.SetStatusMessage(ctx, "half")
	require.NoError(t, err)
	assert.Equal(t, "state", string(got.State))
	assert.Equal(t, `{"a":1}`, string(got.Request))
	assert.Equal(t, got, get(t, s, task.ID))
}

// The backend's refusal of a big record counts only for a state that was read: another
// caller may have made room.
func TestRunFindsTheRoomThatAnotherCallerMade(t *testing.T) {
	for name, try := range map[string]func(run *Run) (Task, error){
		"a report": func(run *Run) (Task, error) { return run.SaveState(ctx, make([]byte, 500)) },
		"an end": func(run *Run) (Task, error) {
			return run.Complete(ctx, raw(`"`+strings.Repeat("x", 650)+`"`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 1100}), nil)
			task := create(t, s, CreateParams{Holder: "x", Request: raw(`1`), Trace: Trace{Call: strings.Repeat("c", 250)}})
			run := s.RunOf(task)
			_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.Trace = Trace{}; return nil })
			require.NoError(t, err)
			got, err := try(run)
			require.NoError(t, err)
			assert.Equal(t, `1`, string(got.Request))
			assert.Equal(t, got, get(t, s, task.ID))
		})
	}
}

// The clock of the backend may go back, as after a failover. A state from the future is no
// younger than one of the past.
func TestRunReadsAStateFromTheFuture(t *testing.T) {
	c := &counting{}
	b := &shifted{counting: c}
	c.StorageBackend = taskstore.NewMemoryBackend(nil)
	s := newStore(t, b, nil)
	run := s.RunOf(create(t, s, CreateParams{Holder: "x"}))
	b.by = -time.Minute
	c.calls.Store(0)
	_, err := run.SetStatusMessage(ctx, "m")
	require.NoError(t, err)
	assert.EqualValues(t, 2, c.calls.Load())
}

// A shifted backend has a clock that is off.
type shifted struct {
	*counting
	by time.Duration
}

func (s *shifted) Now(context.Context) (time.Time, error) { return time.Now().Add(s.by), nil }

// A write without a read whose answer was lost is decided by a read, as any other.
func TestRunDecidesALostAnswerByARead(t *testing.T) {
	lost := taskstore.ErrOutcomeUnknown
	for name, c := range map[string]struct {
		applied bool
		others  int // writes of another caller after the lost one
		want    string
		err     error
	}{
		"applied":                 {true, 0, "mine", nil},
		"not applied":             {false, 0, "mine", nil},
		"not applied, overtaken":  {false, 1, "other mine", nil},
		"applied, and overtaken":  {true, 1, "", lost},
		"overtaken by two writes": {false, 2, "", lost},
	} {
		t.Run(name, func(t *testing.T) {
			w := &witness{}
			b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
			s, beside := newStore(t, b, &Options{Observer: w.observer()}), newStore(t, b.StorageBackend, nil)
			task, run := running(t, s)
			w.take()
			b.do(func(_ taskstore.Key, _ taskstore.Value, write func() error) (bool, error) {
				b.do(nil)
				if c.applied {
					require.NoError(t, write())
				}
				for range c.others {
					_, err := beside.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage += "other "; return nil })
					require.NoError(t, err)
				}
				return true, lost
			})
			got, err := run.Update(ctx, func(t *Task) error { t.StatusMessage += "mine"; return nil })
			assert.ErrorIs(t, err, c.err)
			assert.Equal(t, c.want, got.StatusMessage)
			if err == nil {
				assert.Equal(t, got, get(t, s, task.ID))
				assert.Equal(t, got, run.Task())
			}
			_, err = run.Complete(ctx, raw(`1`))
			require.NoError(t, err)
			assert.Equal(t, []string{`ended completed for {"name":"tool"}, settled false`}, w.take())
		})
	}
}

// Goroutines of one Run, other callers and lost answers: each update that succeeded is
// there once.
func TestUpdatesOfARunAreAllKept(t *testing.T) {
	b := &script{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, b, nil)
	task, run := running(t, s)
	b.do(func(_ taskstore.Key, _ taskstore.Value, write func() error) (bool, error) {
		switch rand.IntN(10) {
		case 0:
			return true, taskstore.ErrOutcomeUnknown
		case 1:
			if err := write(); err != nil {
				return true, err
			}
			return true, taskstore.ErrOutcomeUnknown
		}
		return false, nil
	})
	var sure, unsure atomic.Int64
	one := func(t *Task) error { t.State = append(t.State, 'x'); return nil }
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for range 50 {
				update := func() (Task, error) { return run.Update(ctx, one) }
				if i%3 == 2 {
					update = func() (Task, error) { return s.Update(ctx, owner, task.ID, one) }
				}
				if _, err := update(); err == nil {
					sure.Add(1)
				} else if assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown) {
					unsure.Add(1)
				}
			}
		})
	}
	wg.Wait()
	kept := int64(len(get(t, s, task.ID).State))
	assert.GreaterOrEqual(t, kept, sure.Load())
	assert.LessOrEqual(t, kept, sure.Load()+unsure.Load())
}

// Without batches a crash can leave a key without its task, whose id is then used again. So
// a Run on such a backend reads the task before each write.
func TestRunReadsFirstWithoutBatches(t *testing.T) {
	c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, plain{c}, nil)
	run := s.RunOf(create(t, s, CreateParams{Holder: "x"}))
	c.calls.Store(0)
	_, err := run.SetStatusMessage(ctx, "m")
	require.NoError(t, err)
	assert.EqualValues(t, 2, c.calls.Load())
}
