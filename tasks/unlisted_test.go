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
func TestARecordThatTheBackendCannotReadStopsNothing(t *testing.T) {
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
