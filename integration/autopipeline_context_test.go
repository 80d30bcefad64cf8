//go:build integration

package integration

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// A call whose ctx ends while it waits to be sent returns at once. Its write may still be
// applied, and the other calls of its batch go on undisturbed.
func TestCallsLeaveABatchWithTheirContext(t *testing.T) {
	onEachClientAsItIs(t, batched, func(r *resending) {
		for range 5 {
			keys := r.each()
			leaving, cancel := context.WithCancel(ctx)
			var left sync.WaitGroup
			left.Add(callers / 2)
			queued := func() {
				cancel()
				left.Wait() // before the batch is sent
			}
			r.share(callers, batch{queued: queued}, func(ctx context.Context, i int) {
				if i%2 == 0 {
					r.update(ctx, keys[i])
					return
				}
				defer left.Done()
				ctx = joined{leaving, ctx}
				var err error
				switch i % 8 {
				case 1:
					_, err = r.mine.Put(ctx, keys[i], r.value(keys[i].Task))
				case 3:
					_, err = r.mine.Delete(ctx, keys[i])
				case 5:
					_, err = r.mine.Get(ctx, keys[i])
					assert.NotErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
					assert.ErrorIs(r.t, err, context.Canceled)
					return
				default:
					_, err = r.mine.PutIfVersion(ctx, keys[i], r.value(keys[i].Task), 1)
				}
				assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
				assert.ErrorIs(r.t, err, context.Canceled)
			})
			for i, key := range keys {
				rec, err := r.other.Get(ctx, key)
				switch {
				case i%2 == 0:
					r.updated([]taskstore.Key{key})
				case i%8 == 3 && errors.Is(err, taskstore.ErrNotFound):
				default:
					require.NoError(r.t, err)
					assert.LessOrEqual(r.t, rec.Version, taskstore.Version(2))
				}
			}
			// A call that has not begun is not sent at all.
			_, err := r.mine.Put(leaving, keys[0], text("late"))
			assert.ErrorIs(r.t, err, context.Canceled)
			assert.NotErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
			r.updated(keys[:1])
		}
	})
}

// A joined is a ctx that ends with another one, too, and tells both when a call waits.
type joined struct {
	context.Context
	queued context.Context
}

func (j joined) Done() <-chan struct{} {
	j.queued.Done()
	return j.Context.Done()
}

// Calls under way end when their backend is closed. At any stage, each reports its own outcome
// correctly and says that the backend was closed.
func TestCallsEndWhenABackendIsClosed(t *testing.T) {
	for _, topology := range storetest.Topologies {
		for name, opts := range map[string]taskstore.RedisOptions{"": {}, "WithBatches": {AutoPipeline: true}} {
			t.Run(topology.Name+name, func(t *testing.T) {
				t.Parallel()
				url := topology.URL(t)
				opts.Prefix = uuid.NewString()
				other := storetest.Open(t, url, opts)
				for range 5 {
					callsEndWithTheirBackend(t, storetest.Open(t, url, opts), other)
				}
			})
		}
	}
}

func callsEndWithTheirBackend(t *testing.T, b, other *taskstore.RedisBackend) {
	var all sync.WaitGroup
	var written, done atomic.Int64
	last := make([]taskstore.Version, callers)
	errs := make([]error, callers)
	owner := uuid.NewString()
	key := func(i int) taskstore.Key { return taskstore.Key{Owner: owner, Task: string(rune('a' + i))} }
	for i := range callers {
		all.Go(func() {
			for {
				v, err := b.PutIfVersion(ctx, key(i), hello, last[i])
				if errs[i] = err; err != nil {
					return
				}
				last[i] = v
				written.Add(1)
			}
		})
	}
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := b.Get(ctx, key(0)); return err },
		"Put":    func() error { _, err := b.Put(ctx, taskstore.Key{Owner: owner, Task: "put"}, hello); return err },
		"Delete": func() error { _, err := b.Delete(ctx, taskstore.Key{Owner: owner, Task: "put"}); return err },
		"List":   func() error { _, err := b.ListByPrefix(ctx, taskstore.Key{Owner: owner}); return err },
		"Page":   func() error { _, _, err := b.ListPage(ctx, taskstore.Key{Owner: owner}, "", 5); return err },
		"Ping":   func() error { return b.Ping(ctx) },
		"Now":    func() error { _, err := b.Now(ctx); return err },
		"Check":  func() error { _, err := b.Check(ctx); return err },
		"Watch": func() (last error) {
			for _, last = range b.Watch(ctx, key(0)) {
			}
			return last
		},
	} {
		all.Go(func() {
			var err error
			for ; err == nil || errors.Is(err, taskstore.ErrNotFound); err = call() {
				done.Add(1)
			}
			assert.ErrorIs(t, err, taskstore.ErrClosed, name)
		})
	}
	require.Eventually(t, func() bool { return written.Load() > 10*callers && done.Load() > 100 }, 10*time.Second, time.Millisecond)
	require.NoError(t, b.Close())
	all.Wait()
	for i := range callers {
		assert.ErrorIs(t, errs[i], taskstore.ErrClosed)
		rec, err := other.Get(ctx, key(i))
		require.NoError(t, err)
		if errors.Is(errs[i], taskstore.ErrOutcomeUnknown) {
			assert.LessOrEqual(t, rec.Version-last[i], taskstore.Version(1))
			continue
		}
		assert.Equal(t, last[i], rec.Version)
	}
}

// The client's timeouts bound the time that Close takes, even if the server is silent.
func TestClosingDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL()+"?read_timeout=200ms", taskstore.RedisOptions{AutoPipeline: true})
	server.Suspend()
	defer server.Resume()
	var all sync.WaitGroup
	begun := make(chan struct{}, callers)
	for range callers {
		all.Go(func() {
			begun <- struct{}{}
			_, err := b.Get(ctx, key)
			assert.Error(t, err)
		})
	}
	for range callers {
		<-begun
	}
	start := time.Now()
	assert.NoError(t, b.Close())
	all.Wait()
	t.Logf("closed after %v", time.Since(start))
	assert.Less(t, time.Since(start), 10*time.Second)
}
