package taskstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// An interloper writes before the call of a number.
type interloper struct {
	taskstore.StorageBackend
	calls, at int
	write     func()
}

func (l *interloper) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if l.calls++; l.calls == l.at {
		l.write()
	}
	return l.StorageBackend.Get(ctx, key)
}

// If another caller has written a record since the batch did, that record stays, however much
// it looks like the batch's own.
func TestPutBatchWithoutABatcherUndoesOnlyItsOwnWrites(t *testing.T) {
	key := batchKey(2)
	hour := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	for name, c := range map[string]struct {
		before   string
		write    taskstore.Value
		meddling func(memory *taskstore.MemoryBackend)
		want     taskstore.Record // Version 0: it is absent
	}{
		"SameValueLaterVersion": {"before", value("batch"), func(m *taskstore.MemoryBackend) {
			_, _ = m.Put(context.Background(), key, value("batch"))
		}, taskstore.Record{Key: key, Version: 3, Value: value("batch")}},
		"SameVersionOtherData": {"", value("batch"), func(m *taskstore.MemoryBackend) {
			_, _ = m.Delete(context.Background(), key)
			_, _ = m.Put(context.Background(), key, value("another life"))
		}, taskstore.Record{Key: key, Version: 1, Value: value("another life")}},
		"SameVersionOtherExpiry": {"", value("batch"), func(m *taskstore.MemoryBackend) {
			_, _ = m.Delete(context.Background(), key)
			_, _ = m.Put(context.Background(), key, taskstore.Value{Data: []byte("batch"), ExpiresAt: hour})
		}, taskstore.Record{Key: key, Version: 1, Value: taskstore.Value{Data: []byte("batch"), ExpiresAt: hour}}},
		"Deleted": {"before", value("batch"), func(m *taskstore.MemoryBackend) {
			_, _ = m.Delete(context.Background(), key)
		}, taskstore.Record{}},
		"DeletedWithAnExpiryAhead": {"before", taskstore.Value{ExpiresAt: hour}, func(m *taskstore.MemoryBackend) {
			_, _ = m.Delete(context.Background(), key)
		}, taskstore.Record{}},
		"CreatedAgainAfterTheRemoval": {"before", taskstore.Value{ExpiresAt: time.UnixMilli(1)}, func(m *taskstore.MemoryBackend) {
			_, _ = m.Put(context.Background(), key, value("another life"))
		}, taskstore.Record{Key: key, Version: 1, Value: value("another life")}},
		"Untouched": {"before", value("batch"), func(*taskstore.MemoryBackend) {}, taskstore.Record{Key: key, Version: 3, Value: value("before")}},
	} {
		t.Run(name, func(t *testing.T) {
			memory := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 100})
			w := taskstore.Write{Key: key, Value: c.write}
			if c.before != "" {
				w.Expected = 1
				_, err := memory.Put(t.Context(), key, value(c.before))
				require.NoError(t, err)
			}
			b := &interloper{StorageBackend: memory, at: 3, write: func() { c.meddling(memory) }} // two reads, then that of undoing
			tooMuch := taskstore.Write{Key: batchKey(0), Value: value(strings.Repeat("x", 101))}
			err := taskstore.PutBatch(t.Context(), b, []taskstore.Write{tooMuch, w})
			require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
			require.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			r, err := memory.Get(t.Context(), key)
			if c.want.Version == 0 {
				require.ErrorIs(t, err, taskstore.ErrNotFound)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, r)
		})
	}
}

func TestPutBatchWithoutABatcherLimitsEachWriteByItsOwn(t *testing.T) {
	create := func(task string, most int) taskstore.Write {
		return taskstore.Write{Key: taskstore.Key{Owner: "o", Task: task}, MaxRecords: most}
	}
	b := plain{taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: 2})}
	two := taskstore.WithRecordLimit(t.Context(), 1)
	require.NoError(t, taskstore.PutBatch(t.Context(), b, []taskstore.Write{create("a", 0), create("b", 0)}))
	var refused *taskstore.BatchError
	err := taskstore.PutBatch(t.Context(), b, []taskstore.Write{create("c", 0)})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: 2, Asked: 3}, refused.Err)
	err = taskstore.PutBatch(two, b, []taskstore.Write{create("c", -1), create("d", 3), create("e", 3)})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 2, refused.Index)
	require.NoError(t, taskstore.PutBatch(two, b, []taskstore.Write{create("c", -1), create("d", 3)}), "the refused batch left no record")
}

// A backend that is a Batcher, or wraps one, is asked to make the batch.
func TestPutBatchUsesTheBatcher(t *testing.T) {
	b := &countingBatcher{MemoryBackend: taskstore.NewMemoryBackend(nil)}
	require.NoError(t, taskstore.PutBatch(t.Context(), wrapper{b}, []taskstore.Write{{Key: batchKey(0)}}))
	assert.Equal(t, 1, b.batches)
}

type countingBatcher struct {
	*taskstore.MemoryBackend
	batches int
}

func (c *countingBatcher) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	c.batches++
	return c.MemoryBackend.PutBatch(ctx, writes)
}

// Of batches with one expected version of their first record at most one is made, and a
// reader that has seen it sees all of it.
func TestPutBatchWithoutABatcherLetsOneOfManyWin(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	b := plain{memory}
	first, other := batchKey(0), batchKey(1)
	for version := range taskstore.Version(20) {
		var winners atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				v := value(fmt.Sprint(version, " by ", i))
				err := taskstore.PutBatch(t.Context(), b, []taskstore.Write{
					{Key: first, Value: v, Expected: version}, {Key: other, Value: v, Expected: version},
				})
				if err == nil {
					winners.Add(1)
				} else if !errors.Is(err, taskstore.ErrVersionConflict) {
					t.Errorf("a batch that lost: %v", err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, winners.Load(), int32(1))
		if winners.Load() == 1 {
			assert.Equal(t, held(t, memory, first), held(t, memory, other))
			continue
		}
		// The batches have stopped each other: the records are as before, under any versions.
		for _, key := range []taskstore.Key{first, other} {
			assert.False(t, strings.HasPrefix(held(t, memory, key), fmt.Sprint(version, " ")))
			_, err := memory.Delete(t.Context(), key)
			require.NoError(t, err)
			for range version + 1 {
				_, err = memory.Put(t.Context(), key, value("between"))
				require.NoError(t, err)
			}
		}
	}
}
