package tasks

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A task that has a runner, or may get one, fails at MaxTTL, and its client sees that.
func TestTaskFailsAtMaxTTL(t *testing.T) {
	opts := &Options{MaxTTL: time.Hour, DefaultTTL: time.Minute}
	for name, c := range map[string]struct {
		p      CreateParams
		notice func(t *testing.T, s *Store, run *Run) (Task, error)
	}{
		"by a reader": {CreateParams{Holder: "x"}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			return s.Get(ctx, owner, run.id)
		}},
		"by its runner": {CreateParams{Holder: "x"}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			got, err := run.Renew(ctx)
			assert.ErrorIs(t, err, ErrLeaseLost)
			assert.ErrorIs(t, err, ErrTerminal)
			return got, nil
		}},
		"by its runner, whose answer got lost": {CreateParams{Holder: "x"}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			b := &hooked{StorageBackend: s.backend}
			b.onceBefore("write", isTask, func() error { return taskstore.ErrOutcomeUnknown })
			got, err := newStore(t, b, opts).RunOf(run.Task()).Renew(ctx)
			assert.ErrorIs(t, err, ErrLeaseLost)
			assert.ErrorIs(t, err, ErrTerminal)
			return got, nil
		}},
		"by whoever would take it over": {CreateParams{Holder: "x", Resumable: true}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			_, err := s.Acquire(ctx, owner, run.id, "y")
			assert.ErrorIs(t, err, ErrTerminal)
			return s.Get(ctx, owner, run.id)
		}},
		"by a look for orphans": {CreateParams{Resumable: true}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			assert.Empty(t, orphans(t, s))
			assert.Zero(t, registryEntries(t, s))
			r, err := decode(dump(t, s, tasksKey(owner))[0].Data)
			require.NoError(t, err)
			assert.Equal(t, Failed, r.Status)
			return s.Get(ctx, owner, run.id)
		}},
		"by a waiter": {CreateParams{Holder: "x"}, func(t *testing.T, s *Store, run *Run) (Task, error) {
			return s.Wait(ctx, owner, run.id, 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memoryStore(t, opts)
				task := create(t, s, c.p)
				run := s.RunOf(task)
				begin := time.Now()
				if c.p.Holder != "" {
					renewFor(t, s, run, time.Hour-20*time.Second)
				}
				time.Sleep(time.Hour - time.Millisecond - time.Since(begin))
				assert.Equal(t, Working, get(t, s, task.ID).Status)
				if name == "by a waiter" {
					got, err := c.notice(t, s, run)
					require.NoError(t, err)
					assert.Equal(t, MessageOvertime, got.StatusMessage)
					assert.LessOrEqual(t, time.Since(begin), time.Hour+2*time.Millisecond)
					return
				}
				time.Sleep(time.Millisecond)
				got, err := c.notice(t, s, run)
				require.NoError(t, err)
				assert.Equal(t, Failed, got.Status)
				assert.Equal(t, MessageOvertime, got.StatusMessage)
				assert.Equal(t, &Error{Code: -32603, Message: MessageOvertime}, got.Error)
				assert.Equal(t, got, get(t, s, task.ID))
				assert.WithinDuration(t, task.CreatedAt.Add(2*time.Hour), got.ExpiresAt, time.Second, "it is retained")
				_, err = run.Renew(ctx)
				assert.ErrorIs(t, err, ErrLeaseLost)
				assert.Zero(t, activeEntries(t, s))
			})
		})
	}
}

func TestAnEndBeforeMaxTTLIsNoticedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: time.Hour})
		task, run := running(t, s)
		renewFor(t, s, run, time.Hour-11*time.Second)
		time.Sleep(20 * time.Second)
		got, err := run.Complete(ctx, raw(`"just late"`))
		require.NoError(t, err)
		assert.Equal(t, Completed, got.Status)
		assert.Equal(t, got, get(t, s, task.ID))

		for _, byRunner := range []bool{true, false} { // a cancel that was acknowledged
			task, run = running(t, s)
			renewFor(t, s, run, time.Hour-11*time.Second)
			_, err = s.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
			time.Sleep(20 * time.Second)
			if byRunner {
				_, err = run.Renew(ctx)
				assert.ErrorIs(t, err, ErrTerminal)
			}
			got = get(t, s, task.ID)
			assert.Equal(t, Cancelled, got.Status)
			assert.Nil(t, got.Error)
		}
	})
}

// Without a reader that notices MaxTTL the record goes a lease after it.
func TestNoRecordOutlivesMaxTTLByMoreThanALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: time.Hour, DefaultTTL: time.Minute})
		create(t, s, CreateParams{Resumable: true})
		_, run := running(t, s)
		renewFor(t, s, run, time.Hour-10*time.Second) // within the last leases the cap counts
		parked, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		latest := parked.CreatedAt.Add(time.Hour + 30*time.Second)
		assert.Equal(t, latest, parked.ExpiresAt)
		time.Sleep(time.Until(latest))
		assert.Len(t, dump(t, s, tasksKey(owner)), 2)
		time.Sleep(time.Millisecond)
		assert.Empty(t, everything(t, s))
		assert.Zero(t, activeEntries(t, s))
		assert.Zero(t, registryEntries(t, s))
	})
}

func TestWithoutMaxTTLWorkingTasksGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: -1})
		leased, run := running(t, s)
		resumable := create(t, s, CreateParams{Holder: "x", Resumable: true, TTL: time.Second})
		assert.Zero(t, resumable.ExpiresAt)
		renewFor(t, s, run, 30*time.Hour)
		time.Sleep(10000 * time.Hour)
		_, err := run.Renew(ctx)
		assert.ErrorIs(t, err, ErrNotFound, "its runner was away for days")
		_, err = s.Get(ctx, owner, leased.ID)
		assert.ErrorIs(t, err, ErrNotFound)
		assert.Equal(t, Working, get(t, s, resumable.ID).Status)
		assert.Empty(t, orphans(t, s))
		time.Sleep(s.grace())
		assert.Equal(t, []string{resumable.ID}, orphans(t, s))
	})
}

// An external job has no lease: its record lasts for the TTL that the client was told.
func TestTaskWithoutALeaseIsKeptForItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{MaxTTL: time.Hour})
		task := create(t, s, CreateParams{TTL: -1})
		time.Sleep(40 * time.Minute)
		got, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = "still"; return nil })
		require.NoError(t, err)
		assert.Equal(t, task.ExpiresAt, got.ExpiresAt)
		time.Sleep(20 * time.Minute)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		time.Sleep(time.Millisecond)
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}
