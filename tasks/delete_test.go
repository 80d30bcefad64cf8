package tasks

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestDeleteWithALostAnswer(t *testing.T) {
	for _, applied := range []bool{true, false} {
		s, other, b := hookedStore(t, nil)
		task := create(t, s, CreateParams{Resumable: true, IdempotencyKey: "k"})
		b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
			if op != "write" || !isTask(k) {
				return nil
			}
			if applied {
				require.NoError(t, other.Delete(ctx, owner, task.ID))
			}
			return taskstore.ErrOutcomeUnknown
		}
		err := s.Delete(ctx, owner, task.ID)
		if applied {
			require.NoError(t, err)
			assert.ErrorIs(t, s.Delete(ctx, owner, task.ID), ErrNotFound)
			assert.Empty(t, everything(t, s))
			assert.Zero(t, registryEntries(t, s))
		} else {
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			assert.Equal(t, task, get(t, s, task.ID))
			assert.Len(t, everything(t, s), 3)
		}
	}
}

// A task that somebody writes while it is deleted is deleted all the same, once.
func TestDeleteMeetsAChange(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	task := create(t, s, CreateParams{IdempotencyKey: "k"})
	b.onceBefore("write", isTask, func() error { _, err := other.Complete(ctx, owner, task.ID, raw(`1`)); return err })
	require.NoError(t, s.Delete(ctx, owner, task.ID))
	assert.Empty(t, everything(t, s))

	task = create(t, s, CreateParams{IdempotencyKey: "k"})
	b.onceBefore("write", isTask, func() error { return other.Delete(ctx, owner, task.ID) })
	assert.ErrorIs(t, s.Delete(ctx, owner, task.ID), ErrNotFound)
}

// Many tasks and abandoned waits leave no goroutine.
func TestWaitsLeakNoGoroutines(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { // not parallel: it counts goroutines
			s := newStore(t, open(t), nil)
			task := create(t, s, CreateParams{})
			wait := func() {
				for _, err := range s.Changes(ctx, owner, task.ID) {
					require.NoError(t, err)
					break
				}
			}
			wait() // the backend now has the goroutines that it keeps
			time.Sleep(50 * time.Millisecond)
			before := runtime.NumGoroutine()
			for range 200 {
				wait()
				done := create(t, s, CreateParams{Resumable: true, IdempotencyKey: "k"})
				_, err := s.Complete(ctx, owner, done.ID, raw(`1`))
				require.NoError(t, err)
				require.NoError(t, s.Delete(ctx, owner, done.ID))
			}
			assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 20*time.Millisecond)
			assert.Len(t, everything(t, s), 2)
			assert.Zero(t, registryEntries(t, s))
		})
	}
}
