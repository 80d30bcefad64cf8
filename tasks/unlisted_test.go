package tasks

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A spoiled backend cannot read some of its records: a server holds something else at
// their keys.
type spoiled struct {
	taskstore.StorageBackend
	keys map[taskstore.Key]bool
}

func (s spoiled) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	if s.keys[k] {
		return taskstore.Record{}, &taskstore.CorruptError{Key: k}
	}
	return s.StorageBackend.Get(ctx, k)
}

func (s spoiled) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	all, err := s.StorageBackend.ListByPrefix(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return s.part(all)
}

func (s spoiled) part(all []taskstore.Record) (good []taskstore.Record, err error) {
	for _, r := range all {
		if s.keys[r.Key] {
			err = &taskstore.CorruptError{Key: r.Key}
			continue
		}
		good = append(good, r)
	}
	return good, err
}

// spoiledPages is one with pages.
type spoiledPages struct{ spoiled }

func (s spoiledPages) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, limit int) ([]taskstore.Record, string, error) {
	page, next, err := s.StorageBackend.(taskstore.Pager).ListPage(ctx, prefix, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	page, err = s.part(page)
	return page, next, err
}

// A record that the backend cannot read is told by List, which goes on, is no matter to
// Orphans, and goes with the others in a Purge.
func TestAnUnreadableRecordHidesNoOther(t *testing.T) {
	for name, open := range map[string]func(s spoiled) taskstore.StorageBackend{
		"Pages":   func(s spoiled) taskstore.StorageBackend { return spoiledPages{s} },
		"NoPages": func(s spoiled) taskstore.StorageBackend { return s },
	} {
		t.Run(name, func(t *testing.T) {
			memory := taskstore.NewMemoryBackend(nil)
			b := spoiled{memory, map[taskstore.Key]bool{}}
			s := newStore(t, open(b), nil)
			var ids []string
			for range 5 {
				ids = append(ids, create(t, s, CreateParams{Resumable: true}).ID)
			}
			key, err := taskKey(owner, ids[1])
			require.NoError(t, err)
			b.keys[key] = true

			var listed []string
			told := 0
			for cursor := ""; ; {
				page, next, err := s.List(ctx, owner, cursor, 2)
				if err != nil {
					require.ErrorIs(t, err, taskstore.ErrCorrupt)
					told++
				}
				for _, task := range page {
					listed = append(listed, task.ID)
				}
				if cursor = next; cursor == "" {
					break
				}
			}
			assert.ElementsMatch(t, append(ids[:1:1], ids[2:]...), listed)
			assert.Equal(t, 1, told)

			for _, bucket := range buckets { // one entry of the registry, too
				entries, err := memory.ListByPrefix(ctx, taskstore.Key{Owner: registryPrefix + string(bucket)})
				require.NoError(t, err)
				for _, e := range entries[:min(len(entries), 1)] {
					b.keys[e.Key] = true
				}
			}
			for _, err := range s.Orphans(ctx, "") {
				require.NoError(t, err)
			}

			removed, err := s.Purge(ctx, owner)
			require.NoError(t, err)
			assert.Equal(t, 5, removed)
		})
	}
}

// unlistable fails the lists of some owners, as a server does that holds another type of
// value at the key of their index.
type unlistable struct {
	taskstore.StorageBackend
	owners map[string]bool
}

func (u unlistable) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	if u.owners[prefix.Owner] {
		return nil, &taskstore.CorruptError{Key: taskstore.Key{Owner: prefix.Owner}}
	}
	return u.StorageBackend.ListByPrefix(ctx, prefix)
}

// A Purge fails if it cannot list the owner's records, rather than report them removed.
func TestAPurgeWithoutAListFails(t *testing.T) {
	b := unlistable{taskstore.NewMemoryBackend(nil), map[string]bool{userPrefix + owner: true}}
	s := newStore(t, b, nil)
	task := create(t, s, CreateParams{})
	removed, err := s.Purge(ctx, owner)
	assert.ErrorIs(t, err, taskstore.ErrCorrupt)
	assert.Zero(t, removed)
	_, err = s.Get(ctx, owner, task.ID)
	require.NoError(t, err)
}

// Orphans that cannot be listed are told, behind all those that can.
func TestOrphansThatCannotBeListedAreToldLast(t *testing.T) {
	const tasks = 200
	b := unlistable{taskstore.NewMemoryBackend(nil), map[string]bool{}}
	s := newStore(t, b, &Options{MaxActive: tasks})
	for range tasks {
		create(t, s, CreateParams{Resumable: true})
	}
	damaged := registryPrefix + buckets[:1]
	hidden, err := b.StorageBackend.ListByPrefix(ctx, taskstore.Key{Owner: damaged})
	require.NoError(t, err)
	require.NotEmpty(t, hidden)
	b.owners[damaged] = true
	for range 20 { // it begins at random
		found := 0
		var told []error
		for _, err := range s.Orphans(ctx, "") {
			if err != nil {
				told = append(told, err)
				continue
			}
			assert.Empty(t, told)
			found++
		}
		assert.Equal(t, tasks-len(hidden), found)
		require.Len(t, told, 1)
		assert.ErrorIs(t, told[0], taskstore.ErrCorrupt)
	}
}
