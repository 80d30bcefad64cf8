package tasks

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A damaged backend refuses batches for records that it cannot read, until these are
// deleted, and for the indexes of a collection.
type damaged struct {
	spoiled
	index   string // the collection
	deletes int
}

func (d *damaged) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	for i, w := range writes {
		if d.keys[w.Key] || d.index != "" && w.Key.Collection == d.index {
			return &taskstore.BatchError{Index: i, Err: &taskstore.CorruptError{Key: w.Key}}
		}
	}
	return taskstore.PutBatch(ctx, d.StorageBackend, writes)
}

func (d *damaged) Delete(ctx context.Context, k taskstore.Key) (bool, error) {
	d.deletes++
	delete(d.keys, k)
	return d.StorageBackend.Delete(ctx, k)
}

// ways are those in which a task is written together with its entry and key.
var ways = map[string]func(s *Store, id string) error{
	"Complete": func(s *Store, id string) error { _, err := s.Complete(ctx, owner, id, raw(`1`)); return err },
	"Delete":   func(s *Store, id string) error { return s.Delete(ctx, owner, id) },
	"Update": func(s *Store, id string) error {
		_, err := s.Update(ctx, owner, id, func(t *Task) error { t.TTL *= 2; return nil })
		return err
	},
}

// A task with a damaged entry or key can end and be deleted: the write makes the entry or
// key anew, or removes it.
func TestDamageBesideATaskStopsNoWrite(t *testing.T) {
	for name, write := range ways {
		t.Run(name, func(t *testing.T) {
			d := &damaged{spoiled: spoiled{taskstore.NewMemoryBackend(nil), map[taskstore.Key]bool{}}}
			s := newStore(t, d, nil)
			task := create(t, s, CreateParams{IdempotencyKey: "k"})
			d.keys[activeKey(owner, task.ID)], d.keys[idempotencyKey(owner, hash("k"))] = true, true
			require.NoError(t, write(s, task.ID))
			assert.Empty(t, d.keys)
			want := map[string]int{"Complete": 2, "Delete": 0, "Update": 3}[name]
			assert.Len(t, everything(t, s), want)
			if name != "Delete" {
				again, created, err := s.Create(ctx, owner, CreateParams{IdempotencyKey: "k"})
				require.NoError(t, err)
				assert.False(t, created)
				assert.Equal(t, task.ID, again.ID)
			}
		})
	}
}

// If an index cannot be read, the records stay: without its key a task could be made
// twice.
func TestADamagedIndexCostsNoRecord(t *testing.T) {
	for name, write := range ways {
		for _, index := range []string{activeCollection, keyCollection} {
			t.Run(name+"/"+index, func(t *testing.T) {
				d := &damaged{spoiled: spoiled{taskstore.NewMemoryBackend(nil), nil}}
				s := newStore(t, d, nil)
				task := create(t, s, CreateParams{IdempotencyKey: "k"})
				d.index = index
				assert.ErrorIs(t, write(s, task.ID), taskstore.ErrCorrupt)
				assert.Zero(t, d.deletes)
				assert.Len(t, everything(t, s), 3)
			})
		}
	}
}
