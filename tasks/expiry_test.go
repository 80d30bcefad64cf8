package tasks

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// The rule that these tests hold: the records beside a task last at least as long as
// the task, after extensions by any caller and behind any failure.

func atLeast(ttl time.Duration) func(*Task) error {
	return func(t *Task) error { t.TTL = max(t.TTL, ttl); return nil }
}

func TestLateExtensionDoesNotShortenAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other, b := hookedStore(t, nil)
		task := create(t, s, CreateParams{TTL: time.Hour})
		b.onceBefore("write", isActive, func() error {
			_, err := other.Update(ctx, owner, task.ID, atLeast(20*time.Hour))
			return err
		})
		got, err := s.Update(ctx, owner, task.ID, atLeast(2*time.Hour))
		require.NoError(t, err)
		require.Equal(t, 20*time.Hour, got.TTL)
		time.Sleep(19 * time.Hour)
		assert.Equal(t, 1, activeEntries(t, s), "a task that is not counted")
	})
}

// sameTaskAfter expects that p still stands for task after d.
func sameTaskAfter(t *testing.T, s *Store, p CreateParams, task Task, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created, "a second task for one key while the first exists")
	assert.Equal(t, task.ID, again.ID)
}

func TestKeyIsExtendedWithItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, b := hookedStore(t, &Options{MaxTTL: -1})
		p := CreateParams{IdempotencyKey: "key"}
		task := create(t, s, p)
		boom := errors.New("died")
		b.onceBefore("write", isKey, func() error { return boom })
		_, err := s.Update(ctx, owner, task.ID, atLeast(10*time.Hour))
		assert.ErrorIs(t, err, boom)
		assert.Equal(t, task, get(t, s, task.ID), "a task that outlives its key")

		b.onceBefore("write", isKey, func() error { return taskstore.ErrOutcomeUnknown })
		got, err := s.Update(ctx, owner, task.ID, atLeast(10*time.Hour))
		require.NoError(t, err)
		assert.Equal(t, 10*time.Hour, got.TTL)
		sameTaskAfter(t, s, p, task, 10*time.Hour-time.Second)

		task = create(t, s, CreateParams{IdempotencyKey: "without end"})
		_, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.TTL = 0; return nil })
		require.NoError(t, err)
		sameTaskAfter(t, s, CreateParams{IdempotencyKey: "without end"}, task, 10000*time.Hour)
	})
}

func TestKeyFollowsTheLongestOfConcurrentExtensions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, where := range []func(taskstore.Key) bool{isKey, isActive, isTask} {
			for _, d := range [][2]time.Duration{{2 * time.Hour, 20 * time.Hour}, {20 * time.Hour, 2 * time.Hour}} {
				s, other, b := hookedStore(t, nil)
				p := CreateParams{IdempotencyKey: "key"}
				task := create(t, s, p)
				b.onceBefore("write", where, func() error {
					_, err := other.Update(ctx, owner, task.ID, atLeast(d[0]))
					return err
				})
				got, err := s.Update(ctx, owner, task.ID, atLeast(d[1]))
				require.NoError(t, err)
				require.Equal(t, 20*time.Hour, got.TTL)
				sameTaskAfter(t, s, p, task, 19*time.Hour)
			}
		}
	})
}

// Entry and key expire when the task does, at every instant of its life.
func TestEntriesExpireWithTheirTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{Retention: time.Minute})
		task := create(t, s, CreateParams{IdempotencyKey: "key", TTL: 10 * time.Hour, Holder: "x"})
		run := s.RunOf(task)
		for name, step := range map[string]func() (Task, error){
			"as created": func() (Task, error) { return s.Get(ctx, owner, task.ID) },
			"shorter": func() (Task, error) {
				return s.Update(ctx, owner, task.ID, func(t *Task) error { t.TTL = time.Hour; return nil })
			},
			"longer":  func() (Task, error) { return s.Update(ctx, owner, task.ID, atLeast(20*time.Hour)) },
			"renewed": func() (Task, error) { return run.Renew(ctx) },
			"state":   func() (Task, error) { return run.SaveState(ctx, []byte("x")) },
		} {
			got, err := step()
			require.NoError(t, err, name)
			all := everything(t, s)
			require.Len(t, all, 3, name)
			for _, r := range all {
				assert.Equal(t, got.ExpiresAt, r.ExpiresAt, name)
			}
		}
		ended, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Zero(t, activeEntries(t, s))
		all := everything(t, s)
		require.Len(t, all, 2)
		for _, r := range all {
			assert.Equal(t, ended.ExpiresAt, r.ExpiresAt)
		}
		time.Sleep(time.Minute + time.Millisecond)
		assert.Empty(t, everything(t, s))
	})
}

func TestLongestOptionsKeepTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{Retention: maxDuration, MaxTTL: maxDuration, DefaultTTL: maxDuration, Lease: maxDuration, PollInterval: maxDuration})
		p := CreateParams{IdempotencyKey: "k", Holder: "x", Resumable: true}
		task := create(t, s, p)
		time.Sleep(1000 * time.Hour)
		go func() {
			time.Sleep(time.Hour)
			got, err := s.Complete(ctx, owner, task.ID, raw(`1`))
			assert.NoError(t, err)
			assert.Equal(t, maxDuration+1001*time.Hour, got.TTL)
		}()
		_, err := s.Wait(ctx, owner, task.ID, task.Revision)
		require.NoError(t, err)
		sameTaskAfter(t, s, p, task, 1000*time.Hour)
	})
	var ahead time.Duration
	s := newStore(t, clocked{plain{taskstore.NewMemoryBackend(nil)}, &ahead}, &Options{MaxTTL: -1, Retention: maxDuration})
	task := create(t, s, CreateParams{TTL: -1})
	ahead = 250 * 365 * 24 * time.Hour
	_, err := s.Complete(ctx, owner, task.ID, raw(`1`))
	require.NoError(t, err)
	assert.Greater(t, get(t, s, task.ID).TTL, ahead)
	s = memoryStore(t, &Options{MaxTTL: -1, Retention: maxDuration})
	task = create(t, s, CreateParams{TTL: 1<<63 - 1, IdempotencyKey: "k"})
	_, err = s.Complete(ctx, owner, task.ID, raw(`1`))
	require.NoError(t, err)
	get(t, s, task.ID)
}

// A question that is taken back leaves a task that somebody is to go on with.
func TestQuestionTakenBackOffersTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: -1, DefaultTTL: -1})
		takeBack := func(id string) Task {
			got, err := s.Update(ctx, owner, id, func(t *Task) error { t.Status = Working; return nil })
			require.NoError(t, err)
			return got
		}
		task, run := running(t, s)
		_, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		answered, run2 := running(t, s)
		_, err = run2.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		answered, err = s.ProvideInput(ctx, owner, answered.ID, inputs("a"), nil)
		require.NoError(t, err)
		assert.Equal(t, answered.Lease, takeBack(task.ID).Lease)
		time.Sleep(29 * time.Second)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		abandon(t, s)
		assert.Equal(t, Failed, get(t, s, task.ID).Status)

		task = takeBack(reach(t, s, InputRequired).ID) // it had no lease
		assert.Zero(t, task.Lease)
		time.Sleep(1000 * time.Hour)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
	})
}
