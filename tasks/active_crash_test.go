package tasks

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// What is left where a process or an answer is lost between a task and the entry
// that counts it.

var errDied = errors.New("died")

// dies has the process of b die at the first call that at picks, when the backend
// owner first has a record.
func (h *hooked) dies(t testing.TB, other *Store, at func(op string, k taskstore.Key) bool, first string) {
	var dead atomic.Bool
	h.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
		if dead.Load() {
			return errDied
		}
		if !at(op, k) {
			return nil
		}
		for first != "" && len(dump(t, other, first)) == 0 {
			time.Sleep(time.Millisecond)
		}
		dead.Store(true)
		return errDied
	}
}

func on(op, ownerPrefix string) func(string, taskstore.Key) bool {
	return func(o string, k taskstore.Key) bool { return o == op && strings.HasPrefix(k.Owner, ownerPrefix) }
}

func TestEntryWhoseTaskWasNeverMadeMakesRoom(t *testing.T) {
	for _, p := range everyCreate {
		synctest.Test(t, func(t *testing.T) {
			s, other, b := hookedStore(t, &Options{MaxActive: 1})
			b.dies(t, other, func(op string, k taskstore.Key) bool { return op == "write" && strings.HasPrefix(k.Task, taskPrefix) }, activePrefix+owner)
			_, _, err := s.Create(ctx, owner, p)
			require.ErrorIs(t, err, errDied)
			require.Equal(t, 1, activeEntries(t, other))
			_, _, err = other.Create(ctx, owner, CreateParams{})
			isLimit(t, err, LimitActive, 1) // it may be about to be made
			time.Sleep(entryGrace + time.Second)
			task := create(t, other, CreateParams{})
			refused(t, other, LimitActive, 1)
			assert.Equal(t, activeKey(owner, task.ID), dump(t, other, activePrefix+owner)[0].Key)
		})
	}
}

// Nobody counts such a task, and nobody minds: it ends as any other.
func TestTaskWhoseEntryWasNeverWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, &Options{MaxActive: 1})
		b.dies(t, other, on("write", activePrefix), userPrefix+owner)
		_, _, err := s.Create(ctx, owner, CreateParams{Holder: "x"})
		assert.ErrorIs(t, err, errDied)
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, "the task is there")
		page, _, err := other.List(ctx, owner, "", 10)
		require.NoError(t, err)
		require.Len(t, page, 1)
		create(t, other, CreateParams{})
		abandon(t, other)
		assert.Equal(t, Failed, get(t, other, page[0].ID).Status)
		refused(t, other, LimitActive, 1)
	})
}

// With a key or in the registry a task can be found at once, and a big one costs
// much to take back: it is counted before.
func TestTaskThatCanBeFoundIsCountedFirst(t *testing.T) {
	for _, p := range everyCreate[1:] {
		s, other, b := hookedStore(t, nil)
		b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
			if op == "write" && strings.HasPrefix(k.Task, taskPrefix) {
				assert.Equal(t, 1, activeEntries(t, other))
			}
			if strings.HasPrefix(k.Owner, activePrefix) {
				assert.Empty(t, tasksOf(t, other))
				return errDied
			}
			return nil
		}
		_, _, err := s.Create(ctx, owner, p)
		assert.ErrorIs(t, err, errDied)
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		assert.Empty(t, dump(t, other, userPrefix+owner))
		assert.Zero(t, registryEntries(t, other))
		b.before = nil
		create(t, s, p)
	}
}

func tasksOf(tb testing.TB, s *Store) []Task {
	tb.Helper()
	page, _, err := s.List(ctx, owner, "", 1000)
	require.NoError(tb, err)
	return page
}

// The process dies after a task's end, before its entry is removed.
func TestEntryThatOutlivesItsTaskMakesRoom(t *testing.T) {
	for name, end := range map[string]func(s *Store, id string) error{
		"Ended":   func(s *Store, id string) error { _, err := s.Complete(ctx, owner, id, raw(`1`)); return err },
		"Deleted": func(s *Store, id string) error { return s.Delete(ctx, owner, id) },
		"Shortened": func(s *Store, id string) error {
			_, err := s.Update(ctx, owner, id, func(t *Task) error { t.TTL = time.Minute; return nil })
			time.Sleep(time.Minute + time.Millisecond)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, other, b := hookedStore(t, &Options{MaxActive: 1})
				task := create(t, s, CreateParams{})
				b.dies(t, other, on("delete", activePrefix), "")
				require.NoError(t, end(s, task.ID))
				require.Equal(t, 1, activeEntries(t, other))
				if name != "Ended" { // otherwise that can be seen
					time.Sleep(entryGrace + time.Millisecond)
				}
				create(t, other, CreateParams{})
				refused(t, other, LimitActive, 1)
			})
		})
	}
}

// Whatever becomes of the entry's answers, a Create that fails leaves nothing.
func TestEntryOfUnknownOutcome(t *testing.T) {
	for _, c := range []struct{ applied, repeatable, readable bool }{
		{true, true, true}, {true, false, true}, {false, true, true}, // reading again tells
		{true, false, false}, {false, false, true}, {false, false, false},
	} {
		s, other, b := hookedStore(t, nil)
		var n atomic.Int64
		b.before = func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
			switch {
			case !strings.HasPrefix(k.Owner, activePrefix) || op == "delete":
				return nil
			case op == "get" && c.readable || op == "write" && c.repeatable && n.Add(1) > 1:
				return nil
			case op == "get":
				return errDied
			case c.applied:
				_, err := b.StorageBackend.PutIfVersion(ctx, k, v, e)
				require.NoError(t, err)
			}
			return taskstore.ErrOutcomeUnknown
		}
		_, created, err := s.Create(ctx, owner, CreateParams{})
		want := 0
		if c.readable && (c.applied || c.repeatable) {
			require.NoError(t, err)
			want = 1
		} else {
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		}
		assert.Equal(t, want == 1, created)
		assert.Len(t, tasksOf(t, other), want)
		assert.Equal(t, want, activeEntries(t, other))
	}
}

// A task that may come late is counted.
func TestTaskOfUnknownOutcomeKeepsItsEntry(t *testing.T) {
	for _, p := range everyCreate {
		s, other, b := hookedStore(t, nil)
		b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
			if op == "write" && strings.HasPrefix(k.Task, taskPrefix) {
				return taskstore.ErrOutcomeUnknown
			}
			return nil
		}
		_, _, err := s.Create(ctx, owner, p)
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		assert.Equal(t, 1, activeEntries(t, other))
	}
}

// One that comes late though its entry was refused goes again.
func TestTaskOfUnknownOutcomeIsTakenBackWithoutAnEntry(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	create(t, other, CreateParams{})
	b.before = func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
		switch {
		case op == "write" && strings.HasPrefix(k.Task, taskPrefix):
			_, err := b.StorageBackend.PutIfVersion(ctx, k, v, e)
			require.NoError(t, err)
			return taskstore.ErrOutcomeUnknown
		case op == "get" && strings.HasPrefix(k.Task, taskPrefix):
			return errDied
		}
		return nil
	}
	_, _, err := s.Create(ctx, owner, CreateParams{})
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorIs(t, err, ErrLimit)
	assert.Len(t, tasksOf(t, other), 1)
	assert.Equal(t, 1, activeEntries(t, other))
}

func TestRefusedCreateThatCannotTakeItsTaskBackSaysSo(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	create(t, other, CreateParams{})
	b.before = func(op string, _ taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
		if op == "delete" {
			return errDied
		}
		return nil
	}
	_, _, err := s.Create(ctx, owner, CreateParams{})
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.Len(t, tasksOf(t, other), 2)
}

// The caller that loses the race for a key leaves the winner's task counted until
// its end, wherever it stands still meanwhile.
func TestLoserOfAKeyLeavesTheWinnersEntries(t *testing.T) {
	for _, before := range []string{activePrefix, registryPrefix, userPrefix} {
		for _, ended := range []bool{false, true} {
			s, other, b := hookedStore(t, nil)
			p := CreateParams{IdempotencyKey: "k", Resumable: true}
			var theirs Task
			var once atomic.Bool
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) (err error) {
				if op != "write" || !strings.HasPrefix(k.Owner, before) || strings.HasPrefix(k.Task, keyPrefix) || once.Swap(true) {
					return nil
				}
				if theirs = create(t, other, p); ended {
					theirs, err = other.Complete(ctx, owner, theirs.ID, raw(`1`))
				}
				return err
			}
			got, created, err := s.Create(ctx, owner, p)
			require.NoError(t, err)
			assert.False(t, created)
			assert.Equal(t, theirs, got)
			want := 1
			if ended {
				want = 0
			}
			assert.Equal(t, want, activeEntries(t, other), "before the write to %s", before)
			assert.Equal(t, want, registryEntries(t, other), "before the write to %s", before)
		}
	}
}

// The task of the key is made and ends while another caller with that key finds
// the owner at the limit.
func TestCreateThatIsRefusedReturnsTheTaskThatItsKeyHasByThen(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	p := CreateParams{IdempotencyKey: "k"}
	var theirs Task
	var once atomic.Bool
	b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) (err error) {
		if op == "write" && strings.HasPrefix(k.Owner, activePrefix) && !once.Swap(true) {
			theirs = create(t, other, p)
			theirs, err = other.Complete(ctx, owner, theirs.ID, raw(`1`))
			require.NoError(t, err)
			create(t, other, CreateParams{})
		}
		return nil
	}
	got, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, theirs, got)
	assert.Equal(t, 1, activeEntries(t, other))
}
