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

// A Run of a task that was put together by hand does not know the idempotency key, so it
// reads the record, and the key ends with the task.
func TestRunOfATaskThatWasPutTogetherByHandReadsIt(t *testing.T) {
	s, calls := countedStore(t)
	task := create(t, s, CreateParams{Holder: "x", IdempotencyKey: "key"})
	copied := Task{
		ID: task.ID, Owner: task.Owner, Status: task.Status, CreatedAt: task.CreatedAt, UpdatedAt: task.UpdatedAt,
		TTL: task.TTL, ExpiresAt: task.ExpiresAt, PollInterval: task.PollInterval, Lease: task.Lease,
		Revision: task.Revision, Version: task.Version,
	}
	calls()
	got, err := s.RunOf(copied).Complete(ctx, raw(`1`))
	require.NoError(t, err)
	assert.EqualValues(t, 2, calls())
	keys := dump(t, s, idempotencyKey(owner, ""))
	require.Len(t, keys, 1)
	assert.Equal(t, got.ExpiresAt, keys[0].ExpiresAt)
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
