package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// keyOf names a task as ChangesOf takes it.
func keyOf(t Task) taskstore.Key { return taskstore.Key{Owner: t.Owner, Task: t.ID} }

func TestChangesOfYieldsEachTaskUntilItsEnd(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		one, first := running(t, s)
		two, second := running(t, s)
		gone := create(t, s, CreateParams{TTL: 25 * time.Second})
		other, _, err := s.Create(ctx, "other", CreateParams{Holder: "runner"})
		require.NoError(t, err)
		third := s.RunOf(other)
		unknown := taskstore.Key{Owner: owner, Task: "8c9a1c52-32f5-4a9e-9d61-2c0f6f2b7c11"}
		start := time.Now()
		at := func(d time.Duration, _ Task, err error) {
			assert.NoError(t, err)
			time.Sleep(time.Until(start.Add(d)))
		}
		go func() {
			at(10*time.Second, Task{}, nil)
			got, err := first.SetStatusMessage(ctx, "one")
			at(15*time.Second, got, err)
			got, err = second.Renew(ctx)
			at(20*time.Second, got, err)
			got, err = third.Complete(ctx, raw(`3`))
			at(30*time.Second, got, err)
			got, err = first.Complete(ctx, raw(`1`))
			at(40*time.Second, got, err)
			got, err = second.Complete(ctx, raw(`2`))
			at(0, got, err)
		}()
		type seen struct {
			id       string
			revision uint64
			at       time.Duration
		}
		var got []seen
		var lost []string
		named := []taskstore.Key{keyOf(one), unknown, keyOf(two), keyOf(other), keyOf(gone), keyOf(one), {Owner: "", Task: "x"}}
		for task, err := range s.ChangesOf(ctx, named) {
			if err != nil {
				lost = append(lost, fmt.Sprintf("%s/%s %v", task.Owner, task.ID, errors.Is(err, ErrNotFound)))
				continue
			}
			got = append(got, seen{task.ID, task.Revision, time.Since(start)})
		}
		assert.Equal(t, []string{"/x false", owner + "/" + unknown.Task + " true", owner + "/" + gone.ID + " true"}, lost)
		want := []seen{
			{one.ID, 1, 0}, {two.ID, 1, 0}, {other.ID, 1, 0}, {gone.ID, 1, 0},
			{one.ID, 2, 10 * time.Second}, {other.ID, 2, 20 * time.Second}, {one.ID, 3, 30 * time.Second}, {two.ID, 2, 40 * time.Second},
		}
		require.Len(t, got, len(want))
		for i, w := range want {
			assert.Equal(t, w.id, got[i].id)
			assert.Equal(t, w.revision, got[i].revision)
			assert.GreaterOrEqual(t, got[i].at, w.at)
			assert.LessOrEqual(t, got[i].at, w.at+slack)
		}
	})
}

// No write says that a lease or a task runs out; a follower notices all the same.
func TestChangesOfSeesOrphansAndExpiry(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) {
		lost, _ := running(t, s)
		expiring := create(t, s, CreateParams{TTL: time.Minute})
		start := time.Now()
		var ends []string
		for got, err := range s.ChangesOf(ctx, []taskstore.Key{keyOf(lost), keyOf(expiring)}) {
			switch {
			case errors.Is(err, ErrNotFound):
				ends = append(ends, "gone")
				assert.Equal(t, expiring.ID, got.ID)
				assert.LessOrEqual(t, time.Since(start), 61*time.Second)
			case got.Status == Failed:
				ends = append(ends, "failed")
				assert.LessOrEqual(t, time.Since(start), 46*time.Second) // within one and a half leases
			default:
				require.NoError(t, err)
			}
		}
		assert.Equal(t, []string{"failed", "gone"}, ends)
	})
}

// ChangesOf yields a take-over as a state of its own, as Changes does, and skips renewals.
func TestChangesOfSeesTakeOversAndNoRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task := create(t, s, CreateParams{Holder: "one", Resumable: true, Request: raw(`{"name":"tool"}`)})
		run := s.RunOf(task)
		following, stop := context.WithCancel(ctx)
		var tokens []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for got, err := range s.ChangesOf(following, []taskstore.Key{keyOf(task)}) {
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					assert.Zero(t, got)
					return
				}
				tokens = append(tokens, got.Lease.Token)
			}
		}()
		synctest.Wait()
		_, err := run.Renew(ctx)
		require.NoError(t, err)
		synctest.Wait()
		_, err = run.Release(ctx)
		require.NoError(t, err)
		_, err = s.Acquire(ctx, owner, task.ID, "two")
		require.NoError(t, err)
		synctest.Wait()
		stop()
		<-done
		assert.Equal(t, []uint64{1, 2}, tokens)
	})
}

// A store that fails for a while is asked again, once per poll interval.
func TestChangesOfOutlastsAnOutage(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) {
		task, run := running(t, s)
		failing := &flaky{StorageBackend: s.backend}
		s = newStore(t, failing, nil)
		go func() {
			time.Sleep(time.Second)
			failing.away.Store(true)
			_, err := run.Complete(ctx, raw(`1`))
			assert.NoError(t, err)
			time.Sleep(10 * time.Second)
			failing.away.Store(false)
		}()
		var last Task
		for got, err := range s.ChangesOf(ctx, []taskstore.Key{keyOf(task)}) {
			require.NoError(t, err)
			last = got
		}
		assert.Equal(t, Completed, last.Status)
		assert.Less(t, failing.refused.Load(), int64(15))
	})
}

// Tasks of one owner share one watch, which is over when the loop is.
func TestChangesOfCostsOneWatchForAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		b := watchCounting{plain{taskstore.NewMemoryBackend(nil)}, new(atomic.Int64)}
		s := newStore(t, b, nil)
		var named []taskstore.Key
		for i := range 64 {
			task, _, err := s.Create(ctx, fmt.Sprint(owner, i%2), CreateParams{})
			require.NoError(t, err)
			named = append(named, keyOf(task))
		}
		following, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range s.ChangesOf(following, named) {
			}
			assert.Zero(t, b.watching.Load())
		}()
		synctest.Wait()
		assert.Equal(t, int64(2), b.watching.Load())
		stop()
		<-done
		for range s.ChangesOf(ctx, named) {
			assert.Zero(t, b.watching.Load()) // the first state comes before the watch
			break
		}
	})
}

// Hints may get lost, and then a Resync says so: all tasks are looked at again.
// Without either, a look costs the backend little: one in five poll intervals.
func TestChangesOfLooksAtAResyncAndSeldomWithoutHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := &counting{StorageBackend: resyncing{plain{taskstore.NewMemoryBackend(nil)}}}
		s := newStore(t, reads, &Options{PollInterval: 100 * time.Second, Lease: 10 * time.Hour, DefaultTTL: 20 * time.Hour, MaxTTL: 20 * time.Hour})
		task, run := running(t, s)
		start := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			_, err := run.SetStatusMessage(ctx, "not hinted")
			assert.NoError(t, err)
		}()
		following, stop := context.WithTimeout(ctx, 5000*time.Second)
		defer stop()
		var seen []time.Duration
		for got, err := range s.ChangesOf(following, []taskstore.Key{keyOf(task)}) {
			if err != nil {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				break
			}
			if seen = append(seen, time.Since(start)); got.Revision == 2 {
				reads.calls.Store(0)
			}
		}
		assert.Equal(t, []time.Duration{0, 10 * time.Second}, seen)
		assert.InDelta(t, 10, reads.calls.Load(), 3)
	})
}

// A resyncing backend drops all hints, and yields a Resync after ten seconds.
type resyncing struct{ plain }

func (resyncing) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		if !yield(taskstore.Change{Key: k, Resync: true}, nil) {
			return
		}
		time.Sleep(10 * time.Second)
		if yield(taskstore.Change{Key: k, Resync: true}, nil) {
			<-ctx.Done()
		}
	}
}

// A watchCounting backend counts the watches that go on.
type watchCounting struct {
	plain
	watching *atomic.Int64
}

func (w watchCounting) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		w.watching.Add(1)
		defer w.watching.Add(-1)
		if yield(taskstore.Change{Key: k, Resync: true}, nil) {
			<-ctx.Done()
		}
	}
}

// A flaky backend cannot be reached while it is away.
type flaky struct {
	taskstore.StorageBackend
	away    atomic.Bool
	refused atomic.Int64
}

func (f *flaky) Unwrap() taskstore.StorageBackend { return f.StorageBackend }

func (f *flaky) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if f.away.Load() {
		f.refused.Add(1)
		return taskstore.Record{}, errors.New("connection refused")
	}
	return f.StorageBackend.Get(ctx, key)
}
