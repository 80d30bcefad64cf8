package tasks

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A failing backend answers reads with an error while there is one.
type failing struct {
	plain
	err   atomic.Pointer[error]
	reads atomic.Int64
}

func (f *failing) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	f.reads.Add(1)
	if err := f.err.Load(); err != nil {
		return taskstore.Record{}, *err
	}
	return f.plain.Get(ctx, k)
}

type deafFailing struct{ *failing }

func (f deafFailing) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return deaf{f.plain}.Watch(ctx, k)
}

func TestWaitOutlastsAnOutage(t *testing.T) {
	for name, outage := range map[string]error{
		"Connection": errors.New("connection reset"),
		"Unknown":    taskstore.ErrOutcomeUnknown,
		"Timeout":    context.DeadlineExceeded, // the backend's own, not that of ctx
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &failing{plain: plain{taskstore.NewMemoryBackend(nil)}}
				s := newStore(t, deafFailing{b}, nil) // with hints, which would slow polls down
				task := create(t, s, CreateParams{})
				b.err.Store(&outage)
				go func() {
					time.Sleep(time.Minute)
					b.err.Store(nil)
					_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
					assert.NoError(t, err)
				}()
				got, err := s.Wait(ctx, owner, task.ID, task.Revision)
				require.NoError(t, err)
				assert.Equal(t, Completed, got.Status)
				assert.Less(t, b.reads.Load(), int64(80), "at the pace of polls")
				assert.Greater(t, b.reads.Load(), int64(40))

				b.err.Store(&outage)
				done, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				_, err = s.Wait(done, owner, task.ID, 0)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorIs(t, done.Err(), context.DeadlineExceeded)
			})
		})
	}
}

func TestWaitEndsWithAPermanentFailure(t *testing.T) {
	for _, final := range []error{
		taskstore.ErrNotFound, taskstore.ErrClosed, taskstore.ErrCorrupt, taskstore.ErrInvalidKey, taskstore.ErrInvalidArgument,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &failing{plain: plain{taskstore.NewMemoryBackend(nil)}}
			s := newStore(t, b, nil)
			task := create(t, s, CreateParams{})
			go func() { time.Sleep(10 * time.Second); b.err.Store(&final) }()
			_, err := s.Wait(ctx, owner, task.ID, task.Revision)
			assert.ErrorIs(t, err, final)
		})
	}
}

func TestChangesYieldsATakeOver(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		task := create(t, s, CreateParams{Holder: "x", Resumable: true})
		start := time.Now()
		go func() {
			time.Sleep(10 * time.Second)
			_, err := s.RunOf(task).Renew(ctx)
			assert.NoError(t, err)
			time.Sleep(50 * time.Second)
			run, err := s.Acquire(ctx, owner, task.ID, "y")
			assert.NoError(t, err)
			time.Sleep(10 * time.Second)
			_, err = run.Complete(ctx, raw(`1`))
			assert.NoError(t, err)
		}()
		var tokens []uint64
		for got, err := range s.Changes(ctx, owner, task.ID) {
			require.NoError(t, err)
			if tokens = append(tokens, got.Lease.Token); len(tokens) == 2 {
				assert.Equal(t, Working, got.Status)
				assert.LessOrEqual(t, time.Since(start), time.Minute+slack)
			}
		}
		assert.Equal(t, []uint64{1, 2, 2}, tokens)
	})
}

// A counted backend counts the watches.
type countedWatches struct {
	plain
	n atomic.Int64
}

func (c *countedWatches) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	c.n.Add(1)
	return deaf{c.plain}.Watch(ctx, k)
}

func TestNoWatchWithoutAWait(t *testing.T) {
	b := &countedWatches{plain: plain{taskstore.NewMemoryBackend(nil)}}
	s := newStore(t, b, nil)
	task := create(t, s, CreateParams{})
	_, err := s.Wait(ctx, owner, task.ID, 0)
	require.NoError(t, err)
	_, err = s.Complete(ctx, owner, task.ID, raw(`1`))
	require.NoError(t, err)
	_, err = s.Wait(ctx, owner, task.ID, 2)
	require.NoError(t, err)
	_, err = s.Wait(ctx, "other", task.ID, 0)
	require.ErrorIs(t, err, ErrNotFound)
	assert.Zero(t, b.n.Load())
}

// A change between the first look and the start of the watch comes without a hint.
func TestWaitSeesChangesBeforeItsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}
		s := newStore(t, b, nil)
		task := create(t, s, CreateParams{})
		start := time.Now()
		first := true
		for got, err := range s.Changes(ctx, owner, task.ID) {
			require.NoError(t, err)
			if first { // the loop's body runs before the watch starts
				first = false
				_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
				require.NoError(t, err)
				continue
			}
			assert.Equal(t, Completed, got.Status)
		}
		assert.Equal(t, start, time.Now())
	})
}

func TestListSkipsUnreadableTasks(t *testing.T) {
	check := func(t *testing.T, s *Store) {
		var ids []string
		for i := range 8 {
			ids = append(ids, create(t, s, CreateParams{}).ID)
			if data := map[int]string{0: `{"format":2}`, 3: `rubbish`}[i]; data != "" {
				key, err := taskKey(owner, ids[i])
				require.NoError(t, err)
				_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(data)})
				require.NoError(t, err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		var got []string
		var errs []error
		for cursor := ""; ; {
			page, next, err := s.List(ctx, owner, cursor, 2)
			errs = append(errs, err)
			for _, task := range page {
				got = append(got, task.ID)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		assert.Equal(t, append(ids[1:3:3], ids[4:]...), got)
		assert.ErrorIs(t, errs[0], ErrFormat)
		assert.ErrorIs(t, errors.Join(errs...), taskstore.ErrCorrupt)
		assert.NoError(t, errs[len(errs)-1])
	}
	onEach(t, check)
	t.Run("NoPager", func(t *testing.T) { check(t, newStore(t, plain{taskstore.NewMemoryBackend(nil)}, nil)) })
}
