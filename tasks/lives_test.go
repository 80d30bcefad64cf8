package tasks

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// The rule that these tests hold: no id is used again once there was a task of it,
// however slow or dead a caller is.

// hookedStore returns a store with hooks before the calls of its backend, and another
// store on the same records.
func hookedStore(t testing.TB, opts *Options) (s, other *Store, b *hooked) {
	b = &hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}
	return newStore(t, b, opts), newStore(t, b.StorageBackend, opts), b
}

func TestKeyOfATaskThatIsGoneMakesAFreshID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{Retention: 2 * time.Hour})
		p := CreateParams{IdempotencyKey: "key", Holder: "x", Request: raw(`1`)}
		task := create(t, s, p)
		old := s.RunOf(task)
		time.Sleep(time.Hour + time.Millisecond) // the task expired, its key record did not
		p.Request = raw(`2`)                     // which stands for no request any more
		again := create(t, s, p)
		assert.NotEqual(t, task.ID, again.ID)
		for name, try := range runWrites(old) {
			_, err := try()
			assert.ErrorIs(t, err, ErrLeaseLost, name)
		}
		same, created, err := s.Create(ctx, owner, p)
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, again, same)
	})
}

// A runner that read the task's first state and stands still before it writes: by
// then the same key has another task, at the same version, under the same token.
func TestRunnerThatStoodStillDoesNotWriteOverALaterTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		p := CreateParams{IdempotencyKey: "key", Request: raw(`1`), Holder: "old", TTL: time.Minute}
		run := s.RunOf(create(t, s, p))
		var later Task
		// A message, not an end: the store writes the task only.
		b.onceBefore("write", isTask, func() error {
			time.Sleep(61 * time.Second)
			p.Holder = "new"
			later = create(t, other, p)
			return nil
		})
		_, err := run.SetStatusMessage(ctx, "stale")
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, later, get(t, other, later.ID))
		_, err = other.RunOf(later).Complete(ctx, raw(`"fresh"`))
		assert.NoError(t, err)
	})
}

func TestCreateThatMeetsADeleteMakesAFreshID(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key", Request: raw(`1`)}
	old := create(t, other, p)
	b.onceBefore("get", isTask, func() error { return other.Delete(ctx, owner, old.ID) }) // the key was read, the task not yet
	task := create(t, s, p)
	assert.NotEqual(t, old.ID, task.ID)
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, task, again)
}

// The key went, and stands for another task by now, at the same version.
func TestCreateThatMeetsADeleteAndACreateReturnsTheLaterTask(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key", Request: raw(`1`)}
	old := create(t, other, p)
	var later Task
	b.onceBefore("get", isTask, func() error {
		require.NoError(t, other.Delete(ctx, owner, old.ID))
		later = create(t, other, p)
		return nil
	})
	got, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, later, got)
	assert.Len(t, tasksOf(t, other), 1)
}

// Of two callers with one key the other makes the task first.
func TestCreateReturnsTheTaskThatAnotherCallerMadeForItsKey(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	var theirs Task
	b.onceBefore("write", isTask, func() error {
		theirs = create(t, other, CreateParams{IdempotencyKey: "k", Holder: "b"})
		return nil
	})
	got, created, err := s.Create(ctx, owner, CreateParams{IdempotencyKey: "k", Holder: "a"})
	require.NoError(t, err)
	assert.False(t, created, "it would run a task of another caller")
	assert.Equal(t, theirs, got)
}

// The key goes to another task while a creator stands still before its own: a key has one
// task at any time.
func TestCreateAfterAnotherTaskTookItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			meanwhile func(other *Store, p CreateParams) Task
			created   bool
		}{
			"MadeAndThere": {func(other *Store, p CreateParams) Task {
				p.TTL = 0
				time.Sleep(time.Minute)
				return create(t, other, p)
			}, false},
			"MadeAndExpired": {func(other *Store, p CreateParams) Task {
				p.TTL, p.Resumable = time.Second, false
				time.Sleep(time.Millisecond) // it is by CreatedAt that the two are told apart
				task := create(t, other, p)
				time.Sleep(2 * time.Second)
				return task
			}, true},
			"MadeAndDeleted": {func(other *Store, p CreateParams) Task {
				task := create(t, other, p)
				require.NoError(t, other.Delete(ctx, owner, task.ID))
				return task
			}, true},
		} {
			s, other, b := hookedStore(t, nil)
			p := CreateParams{IdempotencyKey: "key", Resumable: true, TTL: time.Hour}
			var theirs Task
			b.onceBefore("write", isTask, func() error { theirs = c.meanwhile(other, p); return nil })
			got, created, err := s.Create(ctx, owner, p)
			require.NoError(t, err)
			assert.Equal(t, c.created, created, name)
			assert.Equal(t, !c.created, got.ID == theirs.ID, name)
			page, _, err := s.List(ctx, owner, "", 10)
			require.NoError(t, err)
			assert.Equal(t, []Task{got}, page, name)
			assert.Equal(t, 1, registryEntries(t, s), name)
		}
	})
}

// The write's answer gets lost; before it is looked at, another caller has made a task of
// the key, and that has expired.
func TestCreateWithALostAnswerMakesAFreshID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		var theirs Task
		b.onceBefore("write", isTask, func() error {
			theirs = create(t, other, CreateParams{IdempotencyKey: "k", TTL: time.Second})
			time.Sleep(2 * time.Second)
			return taskstore.ErrOutcomeUnknown
		})
		task := create(t, s, CreateParams{IdempotencyKey: "k"})
		assert.NotEqual(t, theirs.ID, task.ID)
	})
}

// The task of the key is an orphan, and is gone before it can be settled.
func TestCreateMakesAFreshTaskIfItsOwnGoesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		p := CreateParams{IdempotencyKey: "k", Holder: "dies"}
		old := create(t, s, p)
		abandon(t, s)
		settles := false
		b.before = func(op string, k taskstore.Key, _ taskstore.Value, e taskstore.Version) error {
			if op != "write" || !isTask(k) || e == 0 || settles {
				return nil
			}
			settles = true
			return other.Delete(ctx, owner, old.ID)
		}
		task := create(t, s, p)
		assert.True(t, settles)
		assert.NotEqual(t, old.ID, task.ID)
	})
}

// After a lost answer another task may stand there. Its versions begin anew.
func TestLostAnswerIsNotDecidedByALaterTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		task := create(t, s, CreateParams{})
		b.onceBefore("write", isTask, func() error {
			require.NoError(t, other.Delete(ctx, owner, task.ID))
			time.Sleep(time.Second)
			later := &record{Task: task, write: "x"}
			later.Version = 0
			later.CreatedAt = later.CreatedAt.Add(time.Second)
			later.UpdatedAt = later.CreatedAt
			_, err := other.insert(ctx, later, later.CreatedAt)
			require.NoError(t, err)
			return taskstore.ErrOutcomeUnknown
		})
		_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
	})
}
