package tasks

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestPurgeRemovesAllOfOneOwner(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		theirs, _, err := s.Create(ctx, owner+"2", CreateParams{IdempotencyKey: "k", Resumable: true})
		require.NoError(t, err)
		_, run := running(t, s)
		create(t, s, CreateParams{IdempotencyKey: "k", Resumable: true})
		_, err = s.Complete(ctx, owner, create(t, s, CreateParams{IdempotencyKey: "l"}).ID, raw(`1`))
		require.NoError(t, err)
		_, err = s.RequireInput(ctx, owner, create(t, s, CreateParams{}).ID, inputs("a"))
		require.NoError(t, err)
		for _, data := range []string{`{"status":{"new":"shape"},"format":2}`, `not JSON`} {
			key, err := taskKey(owner, create(t, s, CreateParams{}).ID)
			require.NoError(t, err)
			_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(data)})
			require.NoError(t, err)
		}

		removed, err := s.Purge(ctx, owner)
		require.NoError(t, err)
		assert.Equal(t, 6, removed)
		assert.Empty(t, everything(t, s))
		assert.Zero(t, activeEntries(t, s))
		assert.Equal(t, 1, registryEntries(t, s), "the other owner's")
		_, err = run.Renew(ctx)
		assert.ErrorIs(t, err, ErrLeaseLost)
		kept, err := s.Get(ctx, owner+"2", theirs.ID)
		require.NoError(t, err)
		assert.Equal(t, theirs, kept)

		removed, err = s.Purge(ctx, owner)
		require.NoError(t, err)
		assert.Zero(t, removed)
	})
}

func TestPurgeResumesAfterAFailure(t *testing.T) {
	b := &hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, b, nil)
	for range 5 {
		create(t, s, CreateParams{})
	}
	away, left := errors.New("away"), 2
	b.before = func(op string, k taskstore.Key, v taskstore.Value, _ taskstore.Version) error {
		if op != "write" || !isTask(k) || v.ExpiresAt.After(time.UnixMilli(1)) {
			return nil
		}
		if left--; left < 0 {
			return away
		}
		return nil
	}
	removed, err := s.Purge(ctx, owner)
	assert.ErrorIs(t, err, away)
	assert.Equal(t, 2, removed)
	b.before = nil
	removed, err = s.Purge(ctx, owner)
	require.NoError(t, err)
	assert.Equal(t, 3, removed)
}

// A brief backend lists one record at a time.
type brief struct{ *hooked }

func (b brief) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, _ int) ([]taskstore.Record, string, error) {
	pager, _ := taskstore.As[taskstore.Pager](b.StorageBackend)
	return pager.ListPage(ctx, prefix, cursor, 1)
}

// Purge ends even if the owner creates as fast as Purge removes.
func TestPurgeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brief{&hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}}
		s := newStore(t, b, nil)
		var ids []string
		for range 10 {
			ids = append(ids, create(t, s, CreateParams{}).ID)
		}
		created := 0
		b.before = func(op string, k taskstore.Key, v taskstore.Value, _ taskstore.Version) error {
			if op != "write" || !isTask(k) || v.ExpiresAt.After(time.UnixMilli(1)) {
				return nil
			}
			time.Sleep(time.Second)
			if created++; created == 100 {
				return errors.New("it does not end")
			}
			_, _, err := s.Create(ctx, owner, CreateParams{})
			return err
		}
		_, err := s.Purge(ctx, owner)
		require.NoError(t, err)
		for _, id := range ids {
			_, err := s.Get(ctx, owner, id)
			assert.ErrorIs(t, err, ErrNotFound)
		}
	})
}

func TestPurgeMeetsATaskThatIsGone(t *testing.T) {
	b := &hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, b, nil)
	first := create(t, s, CreateParams{})
	create(t, s, CreateParams{})
	b.onceBefore("get", isTask, func() error { return s.Delete(ctx, owner, first.ID) })
	removed, err := s.Purge(ctx, owner)
	require.NoError(t, err)
	assert.Equal(t, 1, removed)
}

func TestPurgeChecksTheOwner(t *testing.T) {
	_, err := memoryStore(t, nil).Purge(ctx, "")
	assert.ErrorIs(t, err, ErrInvalidOwner)
}
