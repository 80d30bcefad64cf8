package tasks

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A forgetful backend loses the answers of deletes, applied or not.
type forgetful struct {
	taskstore.StorageBackend
	applied bool
}

func (f forgetful) Delete(ctx context.Context, k taskstore.Key) (bool, error) {
	if f.applied {
		_, _ = f.StorageBackend.Delete(ctx, k)
	}
	return false, taskstore.ErrOutcomeUnknown
}

func TestDeleteWhoseAnswerGotLost(t *testing.T) {
	for _, applied := range []bool{true, false} {
		s := newStore(t, forgetful{taskstore.NewMemoryBackend(nil), applied}, nil)
		task := create(t, s, CreateParams{Resumable: true})
		err := s.Delete(ctx, owner, task.ID)
		if applied {
			require.NoError(t, err)
			assert.ErrorIs(t, s.Delete(ctx, owner, task.ID), ErrNotFound)
		} else {
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			get(t, s, task.ID)
		}
	}
}

// A key that stands for another task by now is not the deleted task's.
func TestDeleteLeavesAKeyThatIsAnotherTasks(t *testing.T) {
	s := memoryStore(t, nil)
	p := CreateParams{IdempotencyKey: "key"}
	old := create(t, s, p)
	key := taskstore.Key{Owner: userPrefix + owner, Task: keyPrefix + hash("key")}
	_, err := s.backend.Delete(ctx, key)
	require.NoError(t, err)
	fresh := create(t, s, p)
	require.NotEqual(t, old.ID, fresh.ID)
	before, err := s.backend.Get(ctx, key)
	require.NoError(t, err)
	_, err = s.Complete(ctx, owner, old.ID, raw(`1`))
	require.NoError(t, err)
	after, err := s.backend.Get(ctx, key)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	require.NoError(t, s.Delete(ctx, owner, old.ID))
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, fresh.ID, again.ID)
}

// Nothing is left after many tasks and abandoned waits.
func TestNothingLeaks(t *testing.T) {
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
			wait() // what a backend keeps for itself it has now
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
			assert.Len(t, dump(t, s, userPrefix+owner), 1)
			assert.Zero(t, registryEntries(t, s))
		})
	}
}
