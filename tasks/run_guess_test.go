package tasks

import (
	"errors"
	"strings"
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
