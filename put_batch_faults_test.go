package taskstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// batchFault is the fault at one call of a stepper.
type batchFault int

const (
	failsBefore  batchFault = iota // the call is not done
	losesAnswer                    // it is done, and the answer is lost
	losesRequest                   // the call is not done, and its caller cannot know
	meetsWriter                    // another caller writes the record before it
	meetsDelete                    // another caller deletes it
	ctxEnds                        // the caller's ctx is done
	crash                          // this call and all later ones are not made
	faults
)

var (
	errBroken = errors.New("broken")
	errCrash  = errors.New("crash")
)

// A stepper is a backend of six methods and no more, with faults at chosen calls.
type stepper struct {
	taskstore.StorageBackend
	faults map[int]batchFault // by number of the call
	cancel context.CancelFunc

	calls   int
	crashed bool
	foreign map[taskstore.Key]bool // records that another caller has written or deleted
}

func (s *stepper) step(ctx context.Context, key taskstore.Key, do func() error) error {
	s.calls++
	fault, ok := s.faults[s.calls]
	memory := s.StorageBackend
	switch {
	case s.crashed:
		return errCrash
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok:
		return do()
	}
	switch fault {
	case failsBefore:
		return errBroken
	case losesAnswer:
		if err := do(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, errBroken)
	case losesRequest:
		return fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, errBroken)
	case meetsWriter:
		s.foreign[key] = true
		if _, err := memory.Put(context.Background(), key, value("foreign")); err != nil {
			return err
		}
		return do()
	case meetsDelete:
		s.foreign[key] = true
		if _, err := memory.Delete(context.Background(), key); err != nil {
			return err
		}
		return do()
	case ctxEnds:
		s.cancel()
		if ctx.Err() == nil { // the call is one that undoes
			return do()
		}
		return ctx.Err()
	}
	s.crashed = true
	return errCrash
}

func (s *stepper) Get(ctx context.Context, key taskstore.Key) (r taskstore.Record, err error) {
	err = s.step(ctx, key, func() error { r, err = s.StorageBackend.Get(ctx, key); return err })
	return r, err
}

func (s *stepper) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (made taskstore.Version, err error) {
	err = s.step(ctx, key, func() error { made, err = s.StorageBackend.PutIfVersion(ctx, key, v, expected); return err })
	return made, err
}

func value(data string) taskstore.Value { return taskstore.Value{Data: []byte(data)} }

func batchKey(i int) taskstore.Key {
	return taskstore.Key{Owner: "o", Collection: []string{"", "c"}[i%2], Task: fmt.Sprint(i)}
}

// batchOf five: an update first, a create, an update, a removal, and one of AnyVersion.
func batchOf(t *testing.T, b taskstore.StorageBackend) (writes []taskstore.Write, before map[taskstore.Key]string) {
	t.Helper()
	before = map[taskstore.Key]string{}
	for _, i := range []int{0, 2, 3, 4} {
		_, err := b.Put(t.Context(), batchKey(i), value(fmt.Sprint("before ", i)))
		require.NoError(t, err)
		before[batchKey(i)] = fmt.Sprint("before ", i)
	}
	for i := range 5 {
		w := taskstore.Write{Key: batchKey(i), Value: value("batch"), Expected: 1}
		switch i {
		case 1:
			w.Expected = 0
		case 3:
			w.ExpiresAt = time.Now().Add(-time.Hour)
		case 4:
			w.Expected = taskstore.AnyVersion
		}
		writes = append(writes, w)
	}
	return writes, before
}

func held(t *testing.T, b taskstore.StorageBackend, key taskstore.Key) string {
	t.Helper()
	r, err := b.Get(context.Background(), key)
	if errors.Is(err, taskstore.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	return string(r.Data)
}

// faultedBatch makes a batch with those faults and holds it to the doc of PutBatch.
func faultedBatch(t *testing.T, at map[int]batchFault) (calls int, err error) {
	memory := taskstore.NewMemoryBackend(nil)
	writes, before := batchOf(t, memory)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &stepper{StorageBackend: memory, faults: at, cancel: cancel, foreign: map[taskstore.Key]bool{}}
	err = taskstore.PutBatch(ctx, s, writes)

	unknown := errors.Is(err, taskstore.ErrOutcomeUnknown)
	want := map[taskstore.Key]string{}
	for i, w := range writes {
		want[w.Key] = "batch"
		if i == 3 {
			want[w.Key] = ""
		}
	}
	made := func(key taskstore.Key) bool { return held(t, memory, key) == want[key] }
	var refused *taskstore.BatchError
	if err != nil {
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, refused.Err)
	}
	for i, w := range writes {
		got := held(t, memory, w.Key)
		switch {
		case s.foreign[w.Key]:
			may := []string{"foreign", ""}
			if err == nil || unknown {
				may = append(may, want[w.Key])
			}
			if i == 3 { // the batch has removed it before: another caller's delete has no effect
				may = append(may, before[w.Key])
			}
			assert.Contains(t, may, got, "record %d, which another caller has written; error %v", i, err)
		case err == nil:
			assert.Equal(t, want[w.Key], got, "record %d of a batch that was made", i)
		case unknown:
			assert.Contains(t, []string{want[w.Key], before[w.Key]}, got, "record %d, error %v", i, err)
		default:
			assert.Equal(t, before[w.Key], got, "record %d of a batch that failed with %v", i, err)
		}
		if i > 0 && made(writes[0].Key) && !s.foreign[w.Key] {
			assert.True(t, made(w.Key), "the first record is as the batch makes it, and record %d is not; error %v", i, err)
		}
	}
	return s.calls, err
}

// Faults may meet any one or two calls: the batch is made, or it fails and is undone, or its
// outcome is unknown. Its first record is there only together with the others.
func TestPutBatchWithoutABatcherUnderFaultsAtEveryStep(t *testing.T) {
	calls, err := faultedBatch(t, nil)
	require.NoError(t, err)
	require.Equal(t, 10, calls, "five reads and five writes")
	outcomes := map[string]int{}
	for first := range calls {
		for fault := range faults {
			for second := range 24 { // 0: no second fault
				for other := range faults {
					if second > 0 && second <= first+1 || second == 0 && other > 0 {
						continue
					}
					at := map[int]batchFault{first + 1: fault}
					if second > 0 {
						at[second] = other
					}
					_, err := faultedBatch(t, at)
					switch {
					case err == nil:
						outcomes["made"]++
					case errors.Is(err, taskstore.ErrOutcomeUnknown):
						outcomes["unknown"]++
					default:
						outcomes["failed"]++
					}
					if t.Failed() {
						t.Fatalf("with these faults, by call: %v", at)
					}
				}
			}
		}
	}
	for _, outcome := range []string{"made", "unknown", "failed"} {
		assert.Greater(t, outcomes[outcome], 50, "%s: %v", outcome, outcomes)
	}
}

// PutBatch makes the first write last, so a reader can trust it.
func TestPutBatchWithoutABatcherMakesTheFirstWriteLast(t *testing.T) {
	for n, want := range map[int]string{6: "00000", 7: "01000", 8: "01100", 9: "01110", 10: "01111"} {
		memory := taskstore.NewMemoryBackend(nil)
		writes, before := batchOf(t, memory)
		s := &stepper{StorageBackend: memory, faults: map[int]batchFault{n: crash}, foreign: map[taskstore.Key]bool{}}
		err := taskstore.PutBatch(t.Context(), s, writes)
		require.ErrorIs(t, err, errCrash)
		if n > 6 {
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, "the rollback failed")
		}
		got := ""
		for _, w := range writes {
			if held(t, memory, w.Key) == before[w.Key] {
				got += "0"
			} else {
				got += "1"
			}
		}
		assert.Equal(t, want, got, "crash at call %d", n)
	}
}

// The first write is refused, and the process ends while the others are undone.
func TestPutBatchWithoutABatcherUndoesTheLatestFirst(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	writes, before := batchOf(t, memory)
	s := &stepper{StorageBackend: memory, faults: map[int]batchFault{10: failsBefore, 13: crash}, foreign: map[taskstore.Key]bool{}}
	err := taskstore.PutBatch(t.Context(), s, writes)
	require.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	require.ErrorIs(t, err, errBroken)
	for i, made := range []bool{false, true, true, true, false} {
		assert.Equal(t, made, held(t, memory, writes[i].Key) != before[writes[i].Key], "record %d", i)
	}
}

// A record that another caller writes while the batch is undone is that caller's, and the
// batch is undone all the same.
func TestPutBatchWithoutABatcherLeavesARecordToItsLatestWriter(t *testing.T) {
	for name, fault := range map[string]batchFault{"Written": meetsWriter, "Deleted": meetsDelete} {
		memory := taskstore.NewMemoryBackend(nil)
		writes, before := batchOf(t, memory)
		s := &stepper{StorageBackend: memory, faults: map[int]batchFault{10: failsBefore, 12: fault}, foreign: map[taskstore.Key]bool{}}
		err := taskstore.PutBatch(t.Context(), s, writes)
		require.ErrorIs(t, err, errBroken, name)
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, name)
		require.Equal(t, map[taskstore.Key]bool{writes[4].Key: true}, s.foreign, name)
		assert.Equal(t, map[batchFault]string{meetsWriter: "foreign", meetsDelete: ""}[fault], held(t, memory, writes[4].Key), name)
		for _, w := range writes[:4] {
			assert.Equal(t, before[w.Key], held(t, memory, w.Key), name)
		}
	}
}

func TestPutBatchWithoutABatcherSaysWhichWriteFailed(t *testing.T) {
	for n, index := range map[int]int{1: 0, 2: 1, 5: 4, 6: 1, 7: 2, 9: 4, 10: 0} {
		_, err := faultedBatch(t, map[int]batchFault{n: failsBefore})
		var refused *taskstore.BatchError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, index, refused.Index, "a fault at call %d", n)
		assert.ErrorIs(t, err, errBroken)
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	}
	_, err := faultedBatch(t, map[int]batchFault{7: meetsWriter})
	var conflict *taskstore.VersionConflictError
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, taskstore.VersionConflictError{Key: batchKey(2), Expected: 1, Actual: 2}, *conflict)
	calls, err := faultedBatch(t, map[int]batchFault{9: meetsWriter})
	assert.NoError(t, err, "AnyVersion overwrites another caller's write")
	assert.Equal(t, 12, calls)
}

// An undone record has its data again, its expiry, and a greater version. A record that the
// batch removed is a new one.
func TestPutBatchWithoutABatcherUndoes(t *testing.T) {
	memory := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: 1})
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	key := func(collection string) taskstore.Key {
		return taskstore.Key{Owner: "o", Collection: collection, Task: "t"}
	}
	for _, collection := range []string{"updated", "removed", "other"} {
		_, err := memory.Put(t.Context(), key(collection), taskstore.Value{Data: []byte(collection), ExpiresAt: at})
		require.NoError(t, err)
	}
	// More than the limit, which does not stand in the way of undoing.
	_, err := memory.Put(taskstore.WithRecordLimit(t.Context(), 0), taskstore.Key{Owner: "o", Collection: "removed", Task: "beside"}, value("x"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(taskstore.WithRecordLimit(t.Context(), 1))
	s := &stepper{StorageBackend: memory, faults: map[int]batchFault{8: ctxEnds}, cancel: cancel, foreign: map[taskstore.Key]bool{}}
	err = taskstore.PutBatch(ctx, s, []taskstore.Write{
		{Key: key("first"), Value: value("batch")},
		{Key: key("updated"), Value: value("batch"), Expected: 1},
		{Key: key("removed"), Value: taskstore.Value{ExpiresAt: time.UnixMilli(1)}, Expected: 1},
		{Key: key("created"), Value: value("batch")},
	})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	for collection, version := range map[string]taskstore.Version{"updated": 3, "removed": 1, "other": 1} {
		r, err := memory.Get(t.Context(), key(collection))
		require.NoError(t, err)
		assert.Equal(t, taskstore.Record{Key: key(collection), Version: version, Value: taskstore.Value{Data: []byte(collection), ExpiresAt: at}}, r)
	}
	for _, collection := range []string{"first", "created"} {
		_, err := memory.Get(t.Context(), key(collection))
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	}
}
