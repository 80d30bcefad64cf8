package tasks

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// An Inspector hints at tasks by their own names, and at no others.
func TestAnInspectorWatchesTheTasksOfAnOwner(t *testing.T) {
	m := taskstore.NewMemoryBackend(nil)
	s := newStore(t, m, nil)
	one := create(t, s, CreateParams{})
	for id, want := range map[string]int{"": 2, one.ID: 1} {
		var hints []taskstore.Change
		for c, err := range NewInspector(m).Watch(ctx, owner, id) {
			require.NoError(t, err)
			if c.Resync {
				assert.Empty(t, hints)
				assert.Equal(t, taskstore.Key{Owner: owner, Task: id}, c.Key)
				_, _, err := s.Create(ctx, "another", CreateParams{})
				require.NoError(t, err)
				if id == "" {
					create(t, s, CreateParams{})
				}
				_, err = s.Update(ctx, owner, one.ID, func(t *Task) error { t.StatusMessage = uuid.NewString(); return nil })
				require.NoError(t, err)
				continue
			}
			assert.Equal(t, owner, c.Key.Owner)
			assert.Positive(t, c.Version)
			if hints = append(hints, c); len(hints) == want {
				break
			}
		}
		assert.Equal(t, one.ID, hints[want-1].Key.Task)
	}
}

// A watch that fails yields its error, and ends the loop.
func TestAnInspectorReportsFailedWatches(t *testing.T) {
	m := taskstore.NewMemoryBackend(nil)
	first := func(i *Inspector, owner, id string) (err error) {
		for _, err = range i.Watch(ctx, owner, id) {
		}
		return err
	}
	assert.ErrorIs(t, first(NewInspector(struct{ taskstore.StorageBackend }{m}), "alice", ""), errors.ErrUnsupported)
	assert.ErrorIs(t, first(NewInspector(m), "alice", "no id"), ErrNotFound)
	assert.Error(t, first(NewInspector(m), "", ""))
	done, cancel := context.WithCancel(ctx)
	cancel()
	for c, err := range NewInspector(m).Watch(done, "alice", uuid.NewString()) {
		assert.ErrorIs(t, err, context.Canceled)
		assert.Zero(t, c)
	}
}
