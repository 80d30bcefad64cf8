package tasks

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// onEachTwo runs test with two stores on the same records, on each backend.
func onEachTwo(t *testing.T, opts *Options, test func(t *testing.T, a, b *Store)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			test(t, newStore(t, b, opts), newStore(t, b, opts))
		})
	}
}

// refused makes sure that the owner may have no task more.
func refused(t testing.TB, s *Store, limit Limit, most int) {
	t.Helper()
	for _, p := range everyCreate {
		_, _, err := s.Create(ctx, owner, p)
		isLimit(t, err, limit, most)
	}
}

func isLimit(t testing.TB, err error, limit Limit, most int) {
	t.Helper()
	var l *LimitError
	require.ErrorAs(t, err, &l)
	assert.Equal(t, LimitError{Limit: limit, Max: most, Asked: most + 1}, *l)
	assert.ErrorIs(t, err, ErrLimit)
	assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
}

func TestLimitsPerOwnerAreExactForCreatesAtOnce(t *testing.T) {
	for _, c := range []struct {
		limit Limit
		opts  Options
		p     CreateParams
	}{
		{LimitActive, Options{MaxActive: 5}, CreateParams{}},
		{LimitActive, Options{MaxActive: 5}, CreateParams{Resumable: true}},
		{LimitActive, Options{MaxActive: 5}, CreateParams{IdempotencyKey: "k"}},
		{LimitTasks, Options{MaxTasks: 5}, CreateParams{}},
		{LimitTasks, Options{MaxTasks: 5}, CreateParams{Resumable: true}},
		{LimitTasks, Options{MaxTasks: 5}, CreateParams{IdempotencyKey: "k"}},
	} {
		t.Run(fmt.Sprintf("%s/%+v", c.limit, c.p), func(t *testing.T) {
			onEachTwo(t, &c.opts, func(t *testing.T, a, b *Store) {
				var created atomic.Int64
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						p := c.p
						if p.IdempotencyKey != "" {
							p.IdempotencyKey += strconv.Itoa(i)
						}
						_, _, err := []*Store{a, b}[i%2].Create(ctx, owner, p)
						if err == nil {
							created.Add(1)
							return
						}
						isLimit(t, err, c.limit, 5)
					})
				}
				wg.Wait()
				assert.Equal(t, int64(5), created.Load())
				page, _, err := a.List(ctx, owner, "", 100)
				require.NoError(t, err)
				assert.Len(t, page, 5, "the refused task is listed")
				assert.Equal(t, 5, activeEntries(t, a))
				if c.p.IdempotencyKey != "" {
					assert.Equal(t, 5, keyRecords(t, a))
				}
				if c.p.Resumable {
					assert.Equal(t, 5, registryEntries(t, a))
				}
			})
		})
	}
}

// Results that are retained, and ended tasks of any kind, leave room for others.
func TestOnlyTasksThatHaveNotEndedAreActive(t *testing.T) {
	ends := map[string]func(t *testing.T, s *Store, task Task) error{
		"Completed": func(t *testing.T, s *Store, task Task) error {
			_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
			return err
		},
		"Failed": func(t *testing.T, s *Store, task Task) error {
			_, err := s.Fail(ctx, owner, task.ID, Error{})
			return err
		},
		"Cancelled": func(t *testing.T, s *Store, task Task) error {
			_, err := s.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
			refused(t, s, LimitActive, 1) // asked for, and its runner has not said yet
			_, err = s.RunOf(task).Cancelled(ctx)
			return err
		},
		"CancelledWhileItWaits": func(t *testing.T, s *Store, task Task) error {
			_, err := s.RequireInput(ctx, owner, task.ID, inputs("a"))
			require.NoError(t, err)
			refused(t, s, LimitActive, 1)
			_, err = s.Cancel(ctx, owner, task.ID)
			return err
		},
		"Updated": func(t *testing.T, s *Store, task Task) error {
			_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.Status, t.Result = Completed, raw(`1`); return nil })
			return err
		},
		"Deleted": func(t *testing.T, s *Store, task Task) error { return s.Delete(ctx, owner, task.ID) },
		"DeletedUnread": func(t *testing.T, s *Store, task Task) error {
			key, err := taskKey(owner, task.ID)
			require.NoError(t, err)
			_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(`{"format":2}`)})
			require.NoError(t, err)
			return s.Delete(ctx, owner, task.ID)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			onEachTwo(t, &Options{MaxActive: 1}, func(t *testing.T, s, other *Store) {
				for range 3 {
					task := create(t, s, CreateParams{Holder: "x"})
					refused(t, other, LimitActive, 1)
					require.NoError(t, end(t, s, task))
					assert.Zero(t, activeEntries(t, s))
				}
				create(t, other, CreateParams{Resumable: true, IdempotencyKey: "k"})
			})
		})
	}
}

func TestExpiredAndOrphanedTasksAreNotActive(t *testing.T) {
	onEachTwo(t, &Options{MaxActive: 2, Lease: 500 * time.Millisecond}, func(t *testing.T, s, other *Store) {
		expiring := create(t, s, CreateParams{TTL: time.Second})
		orphan := create(t, s, CreateParams{Holder: "x"})
		refused(t, other, LimitActive, 2)
		// No client reads them: the creates that are refused make the room.
		for range 2 {
			require.Eventually(t, func() bool { _, _, err := other.Create(ctx, owner, CreateParams{}); return err == nil }, 20*time.Second, 20*time.Millisecond)
		}
		require.Eventually(t, func() bool { _, err := s.Get(ctx, owner, expiring.ID); return errors.Is(err, ErrNotFound) }, 20*time.Second, 20*time.Millisecond)
		assert.Equal(t, Failed, get(t, s, orphan.ID).Status)
		refused(t, other, LimitActive, 2)
	})
}

func TestLimitsOfOneOwnerAreNoOthers(t *testing.T) {
	onEachTwo(t, &Options{MaxTasks: 3, MaxActive: 1}, func(t *testing.T, s, other *Store) {
		for i := range 60 { // more than three in some bucket of the registry
			o := "owner" + strconv.Itoa(i)
			_, _, err := s.Create(ctx, o, CreateParams{Resumable: true, IdempotencyKey: "k"})
			require.NoError(t, err)
			_, _, err = other.Create(ctx, o, CreateParams{})
			isLimit(t, err, LimitActive, 1)
		}
		assert.Equal(t, 60, registryEntries(t, s))
	})
}

// The backend's own limits are for its direct users; the store sets others.
func TestLimitsTakeThePlaceOfTheBackends(t *testing.T) {
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: 1}), &Options{MaxTasks: 60, MaxActive: 40})
	for range 40 { // more than the registry has buckets
		create(t, s, CreateParams{Resumable: true})
	}
	refused(t, s, LimitActive, 40)
	s = newStore(t, s.backend, &Options{MaxTasks: -1, MaxActive: -1})
	for range 40 {
		create(t, s, CreateParams{Resumable: true})
	}
	assert.Equal(t, 80, activeEntries(t, s), "they are counted all the same")
}

func TestRecordLimitOfTheContextTakesThePlaceOfMaxTasks(t *testing.T) {
	onEachTwo(t, &Options{MaxTasks: 2, MaxActive: 4}, func(t *testing.T, s, _ *Store) {
		plan := taskstore.WithRecordLimit(ctx, 3)
		for range 3 {
			_, _, err := s.Create(plan, owner, CreateParams{Resumable: true})
			require.NoError(t, err)
		}
		_, _, err := s.Create(plan, owner, CreateParams{Resumable: true})
		isLimit(t, err, LimitTasks, 3)
		_, _, err = s.Create(ctx, owner, CreateParams{})
		var l *LimitError
		require.ErrorAs(t, err, &l)
		assert.Equal(t, LimitTasks, l.Limit)
		assert.Equal(t, 2, l.Max)
		_, _, err = s.Create(taskstore.WithRecordLimit(ctx, 0), owner, CreateParams{})
		require.NoError(t, err)
		_, _, err = s.Create(taskstore.WithRecordLimit(ctx, 0), owner, CreateParams{})
		isLimit(t, err, LimitActive, 4)
	})
}

// An idempotent retry is no new task.
func TestIdempotentCreateAtTheLimits(t *testing.T) {
	for _, opts := range []Options{{MaxActive: 1}, {MaxTasks: 1}, {MaxActive: 1, MaxTasks: 1}} {
		onEachTwo(t, &opts, func(t *testing.T, s, other *Store) {
			p := CreateParams{IdempotencyKey: "k", Resumable: true}
			task := create(t, s, p)
			again, created, err := other.Create(ctx, owner, p)
			require.NoError(t, err)
			assert.False(t, created)
			assert.Equal(t, task, again)
			assert.Equal(t, 1, activeEntries(t, s))
			assert.Equal(t, 1, registryEntries(t, s))
		})
	}
}

// The store counts every task that exists, also one made under another limit.
func TestEntryLivesAsLongAsItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxActive: 1})
		task := create(t, s, CreateParams{})
		unlimited := create(t, newStore(t, s.backend, &Options{MaxActive: -1}), CreateParams{})
		for _, id := range []string{task.ID, unlimited.ID} {
			_, err := s.Update(ctx, owner, id, atLeast(20*time.Hour))
			require.NoError(t, err)
		}
		time.Sleep(20 * time.Hour)
		assert.Equal(t, 2, activeEntries(t, s))
		_, err := s.Complete(ctx, owner, unlimited.ID, raw(`1`))
		require.NoError(t, err)
		refused(t, s, LimitActive, 1)
		time.Sleep(time.Millisecond)
		assert.Zero(t, activeEntries(t, s))
		create(t, s, CreateParams{})
	})
}

func TestTaskOfAStoreWithoutALimitEndsLikeAnyOther(t *testing.T) {
	onEachTwo(t, &Options{MaxActive: 1}, func(t *testing.T, s, _ *Store) {
		old := newStore(t, s.backend, &Options{MaxActive: -1})
		for _, end := range []func(id string) error{
			func(id string) error { _, err := s.Complete(ctx, owner, id, raw(`1`)); return err },
			func(id string) error { _, err := s.Cancel(ctx, owner, id); return err },
			func(id string) error { return s.Delete(ctx, owner, id) },
		} {
			require.NoError(t, end(create(t, old, CreateParams{}).ID))
		}
		counted := create(t, s, CreateParams{})
		_, err := old.Complete(ctx, owner, counted.ID, raw(`1`))
		require.NoError(t, err)
		create(t, s, CreateParams{})
		refused(t, s, LimitActive, 1)
	})
}
