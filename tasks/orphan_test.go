package tasks

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestOrphanIsSettledOnceByItsFirstReader(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, open(t), &Options{Lease: time.Second})
			task, run := running(t, s)
			assert.Equal(t, Working, get(t, s, task.ID).Status)
			time.Sleep(100 * time.Millisecond) // the backend's clock is not ours
			abandon(t, s)
			time.Sleep(100 * time.Millisecond)
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					var got Task
					var err error
					switch i % 3 {
					case 0:
						got, err = s.Get(ctx, owner, task.ID)
					case 1:
						got, err = s.ProvideInput(ctx, owner, task.ID, nil, nil)
					case 2:
						page, _, listErr := s.List(ctx, owner, "", 10)
						require.NoError(t, listErr)
						got = page[0]
					}
					require.NoError(t, err)
					assert.Equal(t, Failed, got.Status)
					assert.Equal(t, &Error{Code: -32603, Message: MessageRunnerGone}, got.Error)
					assert.Equal(t, task.Version+2, got.Version, "suspected or settled more than once")
					assert.Equal(t, task.Revision+1, got.Revision)
				})
			}
			wg.Wait()
			_, err := run.Complete(ctx, raw(`1`))
			assert.ErrorIs(t, err, ErrLeaseLost)
		})
	}
}

func TestTasksBecomeOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		held, _ := running(t, s)
		unheld := create(t, s, CreateParams{})
		resumable := create(t, s, CreateParams{Holder: "x", Resumable: true})
		asked := create(t, s, CreateParams{Holder: "x", Resumable: true})
		_, err := s.Cancel(ctx, owner, asked.ID)
		require.NoError(t, err)
		parked, run := running(t, s)
		_, err = run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)

		time.Sleep(30 * time.Second) // the last instant of the lease
		assert.Zero(t, get(t, s, held.ID).Lease.IdleSince)
		time.Sleep(time.Millisecond)
		suspected := time.Now().UTC()
		for _, task := range []Task{held, resumable, asked} {
			got := get(t, s, task.ID)
			assert.Equal(t, Working, got.Status)
			assert.Equal(t, suspected, got.Lease.IdleSince)
		}
		time.Sleep(10*time.Second - time.Millisecond) // the last instant of the grace
		assert.Equal(t, Working, get(t, s, held.ID).Status)
		assert.Equal(t, Working, get(t, s, asked.ID).Status)
		time.Sleep(time.Millisecond)
		assert.Equal(t, Failed, get(t, s, held.ID).Status)
		assert.Equal(t, unheld, get(t, s, unheld.ID))
		assert.Equal(t, Working, get(t, s, resumable.ID).Status)
		assert.Equal(t, Cancelled, get(t, s, asked.ID).Status)
		assert.Equal(t, InputRequired, get(t, s, parked.ID).Status)

		// A change that meets an orphan settles it, and fails.
		held, _ = running(t, s)
		abandon(t, s)
		got, err := s.Complete(ctx, owner, held.ID, raw(`1`))
		assert.ErrorIs(t, err, ErrTerminal)
		assert.Equal(t, Failed, got.Status)
		assert.Equal(t, got, get(t, s, held.ID))
	})
}

// fullRecord makes a task that leaves its record more bytes to the backend's limit.
func fullRecord(t testing.TB, more int) (*Store, Task) {
	p := CreateParams{Holder: "x", Request: jsonOf(500)}
	probe := memoryStore(t, nil)
	create(t, probe, p)
	size := len(dump(t, probe, tasksKey(owner))[0].Data)
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: size + more}), nil)
	return s, create(t, s, p)
}

// A task that fills the record up to the backend's limit fails like any other when
// its runner is gone: durably, at its first read.
func TestOrphanThatFillsItsRecordIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, task := fullRecord(t, 0) // which leaves no room for a suspicion
		time.Sleep(39900 * time.Millisecond)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		time.Sleep(200 * time.Millisecond)
		got := get(t, s, task.ID)
		assert.Equal(t, Failed, got.Status)
		assert.Equal(t, &Error{Code: internalError, Message: MessageRunnerGone}, got.Error)
		assert.Nil(t, got.Request)
		assert.Equal(t, task.Version+1, got.Version)
		_, err := s.RunOf(task).Complete(ctx, raw(`1`))
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, got, get(t, s, task.ID))
		assert.Zero(t, activeEntries(t, s))

		s, task = fullRecord(t, 200) // with enough room the request stays
		abandon(t, s)
		got = get(t, s, task.ID)
		assert.Equal(t, Failed, got.Status)
		assert.Equal(t, task.Request, got.Request)
	})
}

// A client has answered the last question, and the replica died before the task went on.
func TestAnsweredTaskWithoutARunnerIsAnOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		_, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		got, err := s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
		require.NoError(t, err)
		assert.Equal(t, Working, got.Status)
		assert.Empty(t, got.Lease.Holder)
		abandon(t, s)
		assert.Equal(t, Failed, get(t, s, task.ID).Status)

		// A task without a runner on any replica waits for its external job.
		task = reach(t, s, InputRequired)
		got, err = s.ProvideInput(ctx, owner, task.ID, inputs("q"), nil)
		require.NoError(t, err)
		assert.Zero(t, got.Lease)
		abandon(t, s)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
	})
}

func TestResumableOrphansAreFoundAcrossOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		var want []string
		for _, o := range []string{"a", "a/b", "r:0", "\x00\xff", strings.Repeat("x", MaxOwnerLength)} {
			task, _, err := s.Create(ctx, o, CreateParams{Holder: "x", Resumable: true})
			require.NoError(t, err)
			want = append(want, task.ID)
			_, _, err = s.Create(ctx, o, CreateParams{Holder: "x"})
			require.NoError(t, err)
		}
		assert.Empty(t, orphans(t, s))
		time.Sleep(31 * time.Second)
		assert.Empty(t, orphans(t, s), "suspected")
		time.Sleep(s.grace())
		assert.ElementsMatch(t, want, orphans(t, s))
		for task, err := range s.Orphans(ctx, "") {
			require.NoError(t, err)
			run, err := s.Acquire(ctx, task.Owner, task.ID, "y")
			require.NoError(t, err)
			assert.Equal(t, uint64(2), run.Task().Lease.Token)
		}
		assert.Empty(t, orphans(t, s))
		time.Sleep(31 * time.Second)
		assert.Empty(t, orphans(t, s), "suspected")
		time.Sleep(s.grace())
		assert.Len(t, orphans(t, s), 5)
		n := 0
		for range s.Orphans(ctx, "") { // leaving early
			n++
			break
		}
		assert.Equal(t, 1, n)
	})
}

func TestRegistryFollowsItsTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		make3 := func() (a, b, c Task) {
			return create(t, s, CreateParams{Resumable: true}), create(t, s, CreateParams{Resumable: true}), create(t, s, CreateParams{Resumable: true})
		}
		a, b, c := make3()
		assert.Equal(t, 3, registryEntries(t, s))
		_, err := s.Complete(ctx, owner, a.ID, raw(`1`))
		require.NoError(t, err)
		require.NoError(t, s.Delete(ctx, owner, b.ID))
		assert.Equal(t, 1, registryEntries(t, s))
		time.Sleep(24*time.Hour - time.Millisecond)
		assert.Equal(t, []string{c.ID}, orphans(t, s), "it waits for longer than its TTL")
		time.Sleep(30*time.Second + 2*time.Millisecond)
		assert.Zero(t, registryEntries(t, s))

		// Entries that were left are dropped, fresh ones are not.
		a, b, _ = make3()
		_, err = s.backend.Delete(ctx, storedKey(owner, a.ID))
		require.NoError(t, err)
		_, err = s.Complete(ctx, owner, b.ID, raw(`1`))
		require.NoError(t, err)
		_, err = s.register(ctx, &b)
		require.NoError(t, err)
		orphans(t, s)
		assert.Equal(t, 2, registryEntries(t, s), "b has ended; a may be about to be created")
		time.Sleep(entryGrace + time.Second)
		orphans(t, s)
		assert.Equal(t, 1, registryEntries(t, s))
	})
}

// A replica that lets tasks live longer extends the entry of one before the task.
func TestEntryOfTheRegistryLivesAsLongAsItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := memoryStore(t, &Options{MaxTTL: time.Hour})
		s := newStore(t, old.backend, &Options{MaxTTL: 20 * time.Hour})
		task := create(t, old, CreateParams{Resumable: true})
		_, err := s.Update(ctx, owner, task.ID, atLeast(20*time.Hour))
		require.NoError(t, err)
		time.Sleep(19 * time.Hour)
		assert.Equal(t, []string{task.ID}, orphans(t, s))
	})
}

// An entry that was written again after it was read must stay.
func TestRegistryDropsOnlyEntriesThatItRead(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{Resumable: true})
	read, err := s.backend.Get(ctx, registryKey(owner, task.ID))
	require.NoError(t, err)
	_, err = s.register(ctx, &task)
	require.NoError(t, err)
	assert.ErrorIs(t, s.drop(ctx, read), taskstore.ErrVersionConflict)
	assert.Equal(t, 1, registryEntries(t, s))
}

func TestOrphansSkipsUnreadableTasks(t *testing.T) {
	s := memoryStore(t, nil)
	newer := create(t, s, CreateParams{Resumable: true})
	fine := create(t, s, CreateParams{Resumable: true})
	_, err := s.backend.Put(ctx, storedKey(owner, newer.ID), taskstore.Value{Data: []byte(`{"format":2}`)})
	require.NoError(t, err)
	_, err = s.backend.Put(ctx, taskstore.Key{Owner: registryPrefix + "3", Task: "x"}, taskstore.Value{Data: []byte(`{"format":2,"x":1}`)})
	require.NoError(t, err)
	assert.Equal(t, []string{fine.ID}, orphans(t, s))
	assert.Equal(t, 3, registryEntries(t, s))

	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range s.Orphans(done, "") {
		assert.ErrorIs(t, err, context.Canceled)
	}
}

// A program gets the tasks of its service, and does not even read those of others.
func TestOrphansAreThoseOfOneService(t *testing.T) {
	b := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, b, nil)
	want := map[string]string{}
	for _, service := range []string{"", "wiki", "billing", "billing/search", strings.Repeat("é", 128)} {
		task := create(t, s, CreateParams{Resumable: true, Service: service})
		assert.Equal(t, service, task.Service)
		assert.Equal(t, task, get(t, s, task.ID))
		want[service] = task.ID
	}
	for service, id := range want {
		b.calls.Store(0)
		for task, err := range s.Orphans(ctx, service) {
			require.NoError(t, err)
			assert.Equal(t, id, task.ID)
			assert.Equal(t, service, task.Service)
		}
		assert.Equal(t, int64(1), b.calls.Load(), "one task is read")
	}
	for range s.Orphans(ctx, "Wiki") {
		assert.Fail(t, "another service's")
	}
	// It stays the task's through all that happens to it.
	run, err := s.Acquire(ctx, owner, want["wiki"], "x")
	require.NoError(t, err)
	_, err = run.Park(ctx, nil, inputs("a"))
	require.NoError(t, err)
	_, err = s.ProvideInput(ctx, owner, want["wiki"], inputs("a"), nil)
	require.NoError(t, err)
	run, err = s.Acquire(ctx, owner, want["wiki"], "x")
	require.NoError(t, err)
	_, err = run.Release(ctx)
	require.NoError(t, err)
	for task, err := range s.Orphans(ctx, "wiki") {
		require.NoError(t, err)
		assert.Equal(t, want["wiki"], task.ID)
	}
	ended, err := s.Complete(ctx, owner, want["wiki"], raw(`1`))
	require.NoError(t, err)
	assert.Equal(t, "wiki", ended.Service)
	assert.Equal(t, 4, registryEntries(t, s))

	for _, bad := range []string{strings.Repeat("x", 257), "\xff"} {
		_, _, err := s.Create(ctx, owner, CreateParams{Service: bad})
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, "Service", invalid.Argument)
	}
}

// A task that was handed back tells since when it waits, until somebody takes it.
func TestReleasedTaskTellsSinceWhenItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task := create(t, s, CreateParams{Holder: "x", Resumable: true})
		time.Sleep(31 * time.Second)
		get(t, s, task.ID)
		time.Sleep(time.Second)
		released, err := s.RunOf(task).Release(ctx)
		require.NoError(t, err)
		assert.Equal(t, Lease{Token: 1, IdleSince: time.Now().UTC()}, released.Lease)
		time.Sleep(10 * time.Hour)
		assert.Equal(t, []string{task.ID}, orphans(t, s))
		assert.Equal(t, released, get(t, s, task.ID))
		run, err := s.Acquire(ctx, owner, task.ID, "y")
		require.NoError(t, err)
		assert.Zero(t, run.Task().Lease.IdleSince)
	})
}

// A record that has no room for a suspicion: all go by the lease's end instead.
func TestResumableTaskThatFillsItsRecordIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := fullRecord(t, 0)
		size := len(dump(t, s, tasksKey(owner))[0].Data)
		p := CreateParams{Holder: "x", Request: jsonOf(500 - len(`"resumable":true,`)), Resumable: true}
		task := create(t, s, p)
		require.Equal(t, size, len(dump(t, s, tasksKey(owner))[1].Data))
		time.Sleep(39900 * time.Millisecond)
		assert.Empty(t, orphans(t, s))
		_, err := s.Acquire(ctx, owner, task.ID, "y")
		assert.ErrorIs(t, err, ErrLeaseHeld)
		time.Sleep(200 * time.Millisecond)
		assert.Equal(t, []string{task.ID}, orphans(t, s))
		_, err = s.Acquire(ctx, owner, task.ID, "y")
		require.NoError(t, err)
		assert.Equal(t, Lease{Holder: "y", Token: 2, ExpiresAt: get(t, s, task.ID).Lease.ExpiresAt}, get(t, s, task.ID).Lease)
	})
}
