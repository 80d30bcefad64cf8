package taskstore

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An owner whose records are gone, in any way, leaves no memory in use.
func TestMemoryFreesEmptyCollections(t *testing.T) {
	past := Value{ExpiresAt: time.UnixMilli(1)}
	key := func(i int) Key {
		return Key{Owner: fmt.Sprint("o", i%7), Collection: []string{"", "one", "other"}[i%3], Task: fmt.Sprint(i)}
	}
	const records = 300
	for name, remove := range map[string]func(t *testing.T, m *MemoryBackend, i int) error{
		"Deleted": func(t *testing.T, m *MemoryBackend, i int) error { _, err := m.Delete(t.Context(), key(i)); return err },
		"PutPast": func(t *testing.T, m *MemoryBackend, i int) error {
			_, err := m.Put(t.Context(), key(i), past)
			return err
		},
		"BatchedPast": func(t *testing.T, m *MemoryBackend, i int) error {
			return m.PutBatch(t.Context(), []Write{{Key: key(i), Value: past, Expected: 1}})
		},
		"Expired": func(t *testing.T, m *MemoryBackend, i int) error {
			_, err := m.Put(t.Context(), key(i), Value{ExpiresAt: time.Now().Add(time.Minute)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemoryBackend(nil)
				for i := range records {
					w := Write{Key: key(i)}
					if i%2 == 0 {
						w.ExpiresAt = time.Now().Add(time.Hour)
					}
					require.NoError(t, m.PutBatch(t.Context(), []Write{w}))
				}
				require.Equal(t, records, m.held())
				for i := range records {
					require.NoError(t, remove(t, m, i))
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				holdsNothing(t, m)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				assert.Nil(t, m.sweeper)
			})
		})
	}
}

func TestMemoryKeepsNoPartOfARefusedBatch(t *testing.T) {
	m := NewMemoryBackend(&MemoryOptions{MaxRecordsPerOwner: 1})
	soon := Value{ExpiresAt: time.Now().Add(time.Hour)}
	err := m.PutBatch(t.Context(), []Write{
		{Key: Key{Owner: "o", Collection: "new", Task: "1"}, Value: soon},
		{Key: Key{Owner: "o", Task: "1"}, Value: soon},
		{Key: Key{Owner: "o", Collection: "new", Task: "2"}},
	})
	require.ErrorIs(t, err, ErrCapacityExceeded)
	holdsNothing(t, m)
	assert.Nil(t, m.sweeper)
}

// A batch frees the memory that its own removals leave, also in a collection that the batch
// fills again.
func TestMemoryBatchEmptiesAndFillsACollection(t *testing.T) {
	m := NewMemoryBackend(nil)
	past := Value{ExpiresAt: time.UnixMilli(1)}
	one, two := Key{Owner: "o", Collection: "c", Task: "1"}, Key{Owner: "o", Collection: "c", Task: "2"}
	require.NoError(t, m.PutBatch(t.Context(), []Write{{Key: one}}))
	require.NoError(t, m.PutBatch(t.Context(), []Write{{Key: one, Value: past, Expected: 1}, {Key: two}}))
	records, err := m.ListByPrefix(t.Context(), Key{Owner: "o", Collection: "c"})
	require.NoError(t, err)
	require.Len(t, records, 1)
	assert.Equal(t, two, records[0].Key)
	require.NoError(t, m.PutBatch(t.Context(), []Write{{Key: two, Value: past, Expected: 1}}))
	holdsNothing(t, m)
}

// A record has at most MaxVersion versions, for a batch of one step and of several.
func TestABatchBeyondMaxVersionIsRefused(t *testing.T) {
	m := NewMemoryBackend(nil)
	first, last := Key{Owner: "o", Task: "first"}, Key{Owner: "o", Task: "last"}
	_, err := m.Put(t.Context(), last, Value{Data: []byte("before")})
	require.NoError(t, err)
	m.find(last).version = MaxVersion
	for _, b := range []StorageBackend{m, struct{ StorageBackend }{m}} {
		for _, expected := range []Version{MaxVersion, AnyVersion} {
			for _, v := range []Value{{Data: []byte("batch")}, {ExpiresAt: time.UnixMilli(1)}} {
				err := PutBatch(t.Context(), b, []Write{{Key: first}, {Key: last, Value: v, Expected: expected}})
				assert.Equal(t, &BatchError{Index: 1, Err: &CapacityError{Limit: LimitVersions, Max: uint64(MaxVersion), Asked: uint64(MaxVersion) + 1}}, err)
				_, err = m.Get(t.Context(), first)
				require.ErrorIs(t, err, ErrNotFound)
			}
		}
	}
	r, err := m.Get(t.Context(), last)
	require.NoError(t, err)
	assert.Equal(t, Record{Key: last, Version: MaxVersion, Value: Value{Data: []byte("before")}}, r)
}

// Batches reclaim for each of their writes, so a busy backend does not depend on the timer.
func TestMemoryBatchesReclaimMoreThanTheyAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryBackend(nil)
		m.sweeper, m.sweepAt = time.NewTimer(time.Hour), 0 // a sweeper that stays idle
		batch := func(i int, ttl time.Duration) {
			var writes []Write
			for j := range MaxBatch {
				writes = append(writes, Write{Key: Key{Owner: "o", Task: fmt.Sprint(i, j)}, Value: Value{ExpiresAt: time.Now().Add(ttl)}})
			}
			require.NoError(t, m.PutBatch(t.Context(), writes))
		}
		for i := range 4 {
			batch(i, time.Millisecond)
		}
		time.Sleep(2 * time.Millisecond)
		batch(4, time.Hour)
		assert.Equal(t, MaxBatch, m.held())
		m.sweeper.Stop()
	})
}
