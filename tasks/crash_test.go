package tasks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A process dies between two calls of its backend, or before the answer to the last one.
// These tests hold the state that it leaves.

var errDied = errors.New("died")

// A mortal backend is that of a process which dies at one of its calls.
type mortal struct {
	taskstore.StorageBackend
	left    int  // how many calls it lives for
	applied bool // whether the last call gets through
	dead    bool
}

// call reports whether the call gets through, and whether the process hears of it.
func (m *mortal) call() (through bool, err error) {
	if m.dead {
		return false, errDied
	}
	if m.left--; m.left < 0 {
		m.dead = true
		return m.applied, errDied
	}
	return true, nil
}

func lives[T any](m *mortal, do func() (T, error)) (T, error) {
	var zero T
	through, died := m.call()
	if !through {
		return zero, died
	}
	v, err := do()
	if died != nil {
		return zero, died
	}
	return v, err
}

func (m *mortal) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	return lives(m, func() (taskstore.Record, error) { return m.StorageBackend.Get(ctx, k) })
}

func (m *mortal) Put(ctx context.Context, k taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	return lives(m, func() (taskstore.Version, error) { return m.StorageBackend.Put(ctx, k, v) })
}

func (m *mortal) PutIfVersion(ctx context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	return lives(m, func() (taskstore.Version, error) { return m.StorageBackend.PutIfVersion(ctx, k, v, e) })
}

func (m *mortal) Delete(ctx context.Context, k taskstore.Key) (bool, error) {
	return lives(m, func() (bool, error) { return m.StorageBackend.Delete(ctx, k) })
}

func (m *mortal) ListByPrefix(ctx context.Context, k taskstore.Key) ([]taskstore.Record, error) {
	return lives(m, func() ([]taskstore.Record, error) { return m.StorageBackend.ListByPrefix(ctx, k) })
}

// mortalBatches is one that writes in batches.
type mortalBatches struct{ *mortal }

func (m mortalBatches) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	_, err := lives(m.mortal, func() (struct{}, error) {
		return struct{}{}, taskstore.PutBatch(ctx, m.StorageBackend, writes)
	})
	return err
}

// operations are those in which a process dies, with or without a task made before.
var operations = func() map[string]operation {
	all := map[string]operation{}
	for i, p := range everyCreate {
		p.Holder = "x"
		all[fmt.Sprint("Create ", i)] = operation{do: func(s *Store, _ Task) error { _, _, err := s.Create(ctx, owner, p); return err }, p: p}
		for name, do := range map[string]func(s *Store, task Task) error{
			"Create again": func(s *Store, _ Task) error { _, _, err := s.Create(ctx, owner, p); return err },
			"Extend": func(s *Store, task Task) error {
				_, err := s.Update(ctx, owner, task.ID, atLeast(20*time.Hour))
				return err
			},
			"Shorten": func(s *Store, task Task) error {
				_, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.TTL = time.Minute; return nil })
				return err
			},
			"Complete": func(s *Store, task Task) error { _, err := s.Complete(ctx, owner, task.ID, raw(`1`)); return err },
			"Park":     func(s *Store, task Task) error { _, err := s.RunOf(task).Park(ctx, nil, inputs("a")); return err },
			"Settle": func(s *Store, task Task) error {
				time.Sleep(s.opts.Lease + time.Millisecond)
				_, err := s.Get(ctx, owner, task.ID)
				time.Sleep(s.grace())
				return errors.Join(err, second(s.Get(ctx, owner, task.ID)))
			},
			"Delete": func(s *Store, task Task) error { return s.Delete(ctx, owner, task.ID) },
			"Purge":  func(s *Store, _ Task) error { return second(s.Purge(ctx, owner)) },
		} {
			all[fmt.Sprint(name, " ", i)] = operation{made: true, do: do, p: p}
		}
	}
	return all
}()

type operation struct {
	made bool // there is a task before
	p    CreateParams
	do   func(s *Store, task Task) error
}

func second[T any](_ T, err error) error { return err }

// dying has a process die at each backend call of each operation, once before and once
// after the backend applied the call. It calls check after each death.
func dying(t *testing.T, open func(m *mortal) taskstore.StorageBackend, check func(t *testing.T, s *Store, o operation, task Task)) {
	for name, o := range operations {
		for _, applied := range []bool{false, true} {
			for calls, died := 0, true; died; calls++ {
				synctest.Test(t, func(t *testing.T) {
					m := &mortal{StorageBackend: taskstore.NewMemoryBackend(nil), left: 1000}
					s := newStore(t, open(m), &Options{MaxActive: 5})
					after := newStore(t, open(&mortal{StorageBackend: m.StorageBackend, left: 1_000_000}), &Options{MaxActive: 5})
					var task Task
					if o.made {
						task = create(t, after, o.p)
					}
					m.left, m.applied = calls, applied
					err := o.do(s, task)
					if died = m.dead; !died {
						require.NoError(t, err, name)
					}
					check(t, after, o, task)
				})
				require.Less(t, calls, 100, name)
			}
		}
	}
}

// whole expects that each task of the owner has the records that belong to it, and that
// the owner has no others.
func whole(t *testing.T, s *Store) {
	t.Helper()
	want := map[taskstore.Key]time.Time{}
	resumable := 0
	for _, raw := range dump(t, s, tasksKey(owner)) {
		r, err := recordOf(raw)
		require.NoError(t, err)
		want[raw.Key] = raw.ExpiresAt
		if r.key != "" {
			want[idempotencyKey(owner, r.key)] = raw.ExpiresAt
		}
		if r.Status.Terminal() {
			continue
		}
		want[activeKey(owner, r.ID)] = raw.ExpiresAt
		if r.Resumable {
			resumable++
			assert.Equal(t, 1, registryEntriesOf(t, s, r.ID), "a resumable task is in the registry")
		}
	}
	got := map[taskstore.Key]time.Time{}
	for _, raw := range everything(t, s) {
		got[raw.Key] = raw.ExpiresAt
	}
	assert.Equal(t, want, got)
	assert.LessOrEqual(t, registryEntries(t, s), resumable+1)
}

func TestAProcessThatDiesAtAnyPointLeavesWholeTasks(t *testing.T) {
	batches := func(m *mortal) taskstore.StorageBackend { return mortalBatches{m} }
	dying(t, batches, func(t *testing.T, s *Store, _ operation, _ Task) {
		whole(t, s)
		tasksOf(t, s)                                       // settles the tasks that are due
		for made := activeEntries(t, s); made < 5; made++ { // the limit is exact
			create(t, s, CreateParams{TTL: 23 * time.Hour})
		}
		_, _, err := s.Create(ctx, owner, CreateParams{})
		isLimit(t, err, LimitActive, 5)
		time.Sleep(entryGrace + time.Millisecond)
		orphans(t, s) // a replica that meets an unused entry of the registry removes it
		whole(t, s)
		left := 0
		for _, task := range tasksOf(t, s) {
			if task.Resumable && !task.Status.Terminal() {
				left++
			}
		}
		assert.Equal(t, left, registryEntries(t, s))
		time.Sleep(25 * time.Hour)
		assert.Empty(t, everything(t, s))
		assert.Zero(t, registryEntries(t, s))
	})
}

// A backend that makes the writes of a batch one by one is left with some of them: the
// documentation tells which. The next caller can go on, and in the end all of them go.
func TestAProcessThatDiesBetweenTheWritesOfABatchIsNoObstacle(t *testing.T) {
	single := func(m *mortal) taskstore.StorageBackend { return m }
	dying(t, single, func(t *testing.T, s *Store, o operation, task Task) {
		there := tasksOf(t, s)
		if o.p.IdempotencyKey != "" {
			got, created, err := s.Create(ctx, owner, o.p)
			require.NoError(t, err)
			again, twice, err := s.Create(ctx, owner, o.p)
			require.NoError(t, err)
			assert.False(t, twice)
			assert.Equal(t, got, again)
			if o.p.Resumable && created {
				assert.Equal(t, 1, registryEntriesOf(t, s, got.ID))
			}
		}
		for _, task := range there {
			if _, err := s.Complete(ctx, owner, task.ID, raw(`1`)); err != nil {
				assert.ErrorIs(t, err, ErrTerminal)
			}
			require.NoError(t, s.Delete(ctx, owner, task.ID))
		}
		create(t, s, CreateParams{})
		time.Sleep(25 * time.Hour)
		orphans(t, s)
		assert.Empty(t, everything(t, s))
		assert.Zero(t, registryEntries(t, s))
	})
}

// A Create that fails leaves no records, even if answers of its calls get lost.
func TestCreateOfUnknownOutcome(t *testing.T) {
	for _, c := range []struct{ applied, repeatable, readable bool }{
		{true, true, true}, {true, false, true}, {false, true, true}, // reading again tells
		{false, false, true}, {false, false, false},
	} {
		for _, p := range everyCreate {
			s, other, b := hookedStore(t, nil)
			n := 0
			b.around = func(writes []taskstore.Write) (handled bool, err error) {
				if n++; c.repeatable && n > 1 {
					return false, nil
				}
				if c.applied {
					err := taskstore.PutBatch(ctx, b.StorageBackend, writes)
					require.True(t, err == nil || n > 1)
				}
				return true, taskstore.ErrOutcomeUnknown
			}
			b.before = func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
				if op == "get" && !c.readable {
					return errDied
				}
				return nil
			}
			task, created, err := s.Create(ctx, owner, p)
			want := 0
			if c.readable && (c.applied || c.repeatable) {
				require.NoError(t, err)
				assert.Equal(t, task, get(t, other, task.ID))
				want = 1
			} else {
				assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			}
			assert.Equal(t, want == 1, created)
			assert.Len(t, tasksOf(t, other), want)
			assert.Equal(t, want, activeEntries(t, other))
			if p.Resumable {
				assert.Equal(t, 1, registryEntries(t, other), "it may come late")
			}
		}
	}
}

func tasksOf(tb testing.TB, s *Store) []Task {
	tb.Helper()
	page, _, err := s.List(ctx, owner, "", 1000)
	require.NoError(tb, err)
	return page
}

// The caller that loses the race for a key leaves the winner's task counted until the
// task's end, at any point at which the loser is held up.
func TestLoserOfAKeyLeavesTheWinnersEntries(t *testing.T) {
	for name, before := range map[string]func(taskstore.Key) bool{"registry": isEntry, "batch": isTask} {
		for _, ended := range []bool{false, true} {
			s, other, b := hookedStore(t, nil)
			p := CreateParams{IdempotencyKey: "k", Resumable: true}
			var theirs Task
			b.onceBefore("write", before, func() (err error) {
				if theirs = create(t, other, p); ended {
					theirs, err = other.Complete(ctx, owner, theirs.ID, raw(`1`))
				}
				return err
			})
			got, created, err := s.Create(ctx, owner, p)
			require.NoError(t, err)
			assert.False(t, created)
			assert.Equal(t, theirs, got)
			want := 1
			if ended {
				want = 0
			}
			assert.Equal(t, want, activeEntries(t, other), "before the write to the %s", name)
			assert.Equal(t, want, registryEntries(t, other), "before the write to the %s", name)
			whole(t, other)
		}
	}
}

// The task of the key is made and ends while another caller with that key finds
// the owner at the limit.
func TestCreateThatIsRefusedReturnsTheTaskThatItsKeyHasByThen(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	p := CreateParams{IdempotencyKey: "k"}
	var theirs Task
	b.onceBefore("write", isTask, func() (err error) {
		theirs = create(t, other, p)
		theirs, err = other.Complete(ctx, owner, theirs.ID, raw(`1`))
		require.NoError(t, err)
		create(t, other, CreateParams{})
		return nil
	})
	got, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, theirs, got)
	assert.Equal(t, 1, activeEntries(t, other))
}
