package tasks

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Progress in numbers goes with the message: readers see the two together, the next
// message takes its place, and an end clears it.
func TestProgressGoesWithTheStatusMessage(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		half := Progress{Current: 5, Total: 10}
		set, err := run.SetProgress(ctx, half, "half of it")
		require.NoError(t, err)
		assert.Equal(t, task.Revision+1, set.Revision)
		read := get(t, s, task.ID)
		assert.Equal(t, half, read.Progress)
		assert.Equal(t, "half of it", read.StatusMessage)
		further, err := run.SetProgress(ctx, Progress{Current: 6, Total: 10}, "half of it")
		require.NoError(t, err)
		assert.Equal(t, set.Revision+1, further.Revision, "numbers alone wake watchers")
		for _, bad := range []Progress{{Current: -1}, {Current: 1, Total: -1}} {
			_, err := run.SetProgress(ctx, bad, "")
			assert.ErrorIs(t, err, ErrInvalid)
		}
		said, err := run.SetStatusMessage(ctx, "nearly")
		require.NoError(t, err)
		assert.Zero(t, said.Progress)
		_, err = run.SetProgress(ctx, half, "half of it")
		require.NoError(t, err)
		ended, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Zero(t, ended.Progress)
		assert.Equal(t, ended, get(t, s, task.ID))
	})
}

// A runner counts as lost when another has taken its task, and not when it has given the
// task up by itself.
func TestLostRunsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task := create(t, s, CreateParams{Holder: "1", Resumable: true})
		for lost := range uint64(3) {
			assert.Equal(t, lost, get(t, s, task.ID).LostRuns)
			time.Sleep(time.Minute)
			_, err := s.Acquire(ctx, owner, task.ID, "2")
			require.ErrorIs(t, err, ErrLeaseHeld)
			time.Sleep(time.Minute)
			_, err = s.Acquire(ctx, owner, task.ID, "2")
			require.NoError(t, err)
		}
		_, err := s.RunOf(get(t, s, task.ID)).Release(ctx)
		require.NoError(t, err)
		run, err := s.Acquire(ctx, owner, task.ID, "3")
		require.NoError(t, err)
		_, err = run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		_, err = s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
		require.NoError(t, err)
		_, err = s.Acquire(ctx, owner, task.ID, "4")
		require.NoError(t, err)
		assert.EqualValues(t, 3, get(t, s, task.ID).LostRuns)
	})
}
