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
			time.Sleep(1100 * time.Millisecond)
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					var got Task
					var err error
					switch i % 3 {
					case 0:
						got, err = s.Get(ctx, owner, task.ID)
					case 1:
						got, err = s.ProvideInput(ctx, owner, task.ID, nil)
					case 2:
						page, _, listErr := s.List(ctx, owner, "", 10)
						require.NoError(t, listErr)
						got = page[0]
					}
					require.NoError(t, err)
					assert.Equal(t, Failed, got.Status)
					assert.Equal(t, &Error{Code: -32603, Message: orphanMessage}, got.Error)
					assert.Equal(t, task.Version+1, got.Version, "settled more than once")
					assert.Equal(t, task.Revision+1, got.Revision)
				})
			}
			wg.Wait()
			_, err := run.Complete(ctx, raw(`1`))
			assert.ErrorIs(t, err, ErrLeaseLost)
		})
	}
}

func TestWhatCountsAsOrphan(t *testing.T) {
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
		assert.Equal(t, Working, get(t, s, held.ID).Status)
		time.Sleep(time.Millisecond)
		assert.Equal(t, Failed, get(t, s, held.ID).Status)
		assert.Equal(t, Working, get(t, s, unheld.ID).Status)
		assert.Equal(t, resumable, get(t, s, resumable.ID))
		assert.Equal(t, Cancelled, get(t, s, asked.ID).Status)
		assert.Equal(t, InputRequired, get(t, s, parked.ID).Status)

		// A change that meets an orphan settles it, and fails.
		held, _ = running(t, s)
		time.Sleep(31 * time.Second)
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
	size := len(dump(t, probe, userPrefix+owner)[0].Data)
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: size + more}), nil)
	return s, create(t, s, p)
}

// A task that fills the record up to the backend's limit fails like any other when
// its runner is gone: durably, at its first read.
func TestOrphanThatFillsItsRecordIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, task := fullRecord(t, 0)
		time.Sleep(31 * time.Second)
		got := get(t, s, task.ID)
		assert.Equal(t, Failed, got.Status)
		assert.Equal(t, &Error{Code: orphanCode, Message: orphanMessage}, got.Error)
		assert.Nil(t, got.Request)
		assert.Equal(t, task.Version+1, got.Version)
		_, err := s.RunOf(task).Complete(ctx, raw(`1`))
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, got, get(t, s, task.ID))
		assert.Zero(t, activeEntries(t, s))

		s, task = fullRecord(t, 200) // where there is room it stays
		time.Sleep(31 * time.Second)
		got = get(t, s, task.ID)
		assert.Equal(t, Failed, got.Status)
		assert.Equal(t, task.Request, got.Request)
	})
}

// An answered task whose answering replica died before it went on.
func TestAnsweredTaskThatNobodyTakesIsAnOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		_, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		got, err := s.ProvideInput(ctx, owner, task.ID, inputs("a"))
		require.NoError(t, err)
		assert.Equal(t, Working, got.Status)
		assert.Empty(t, got.Lease.Holder)
		time.Sleep(31 * time.Second)
		assert.Equal(t, Failed, get(t, s, task.ID).Status)

		// One that was never run here waits for whatever runs it.
		task = reach(t, s, InputRequired)
		got, err = s.ProvideInput(ctx, owner, task.ID, inputs("q"))
		require.NoError(t, err)
		assert.Zero(t, got.Lease)
		time.Sleep(31 * time.Second)
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
		assert.ElementsMatch(t, want, orphans(t, s))
		for task, err := range s.Orphans(ctx) {
			require.NoError(t, err)
			run, err := s.Acquire(ctx, task.Owner, task.ID, "y")
			require.NoError(t, err)
			assert.Equal(t, uint64(2), run.Task().Lease.Token)
		}
		assert.Empty(t, orphans(t, s))
		time.Sleep(31 * time.Second)
		assert.Len(t, orphans(t, s), 5)
		n := 0
		for range s.Orphans(ctx) { // leaving early
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
		_, err = s.Update(ctx, owner, c.ID, func(t *Task) error { t.TTL = 20 * time.Hour; return nil })
		require.NoError(t, err)
		time.Sleep(19 * time.Hour)
		assert.Equal(t, []string{c.ID}, orphans(t, s), "the entry outlives a first TTL")
		time.Sleep(2 * time.Hour)
		assert.Zero(t, registryEntries(t, s))

		// Entries that were left are dropped, fresh ones are not.
		a, b, _ = make3()
		_, err = s.backend.Delete(ctx, taskstore.Key{Owner: userPrefix + owner, Task: taskPrefix + a.ID})
		require.NoError(t, err)
		_, err = s.Complete(ctx, owner, b.ID, raw(`1`))
		require.NoError(t, err)
		_, err = s.enter(ctx, &b, time.Now())
		require.NoError(t, err)
		orphans(t, s)
		assert.Equal(t, 2, registryEntries(t, s), "b has ended; a may be about to be created")
		time.Sleep(entryGrace + time.Second)
		orphans(t, s)
		assert.Equal(t, 1, registryEntries(t, s))
	})
}

// An entry that was written again after it was read must stay.
func TestRegistryDropsOnlyWhatItRead(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{Resumable: true})
	read, err := s.backend.Get(ctx, registryKey(owner, task.ID))
	require.NoError(t, err)
	_, err = s.enter(ctx, &task, time.Now())
	require.NoError(t, err)
	assert.ErrorIs(t, s.drop(ctx, read, time.Now()), taskstore.ErrVersionConflict)
	assert.Equal(t, 1, registryEntries(t, s))
}

func TestOrphansLeavesAloneWhatItCannotRead(t *testing.T) {
	s := memoryStore(t, nil)
	newer := create(t, s, CreateParams{Resumable: true})
	fine := create(t, s, CreateParams{Resumable: true})
	_, err := s.backend.Put(ctx, taskstore.Key{Owner: userPrefix + owner, Task: taskPrefix + newer.ID}, taskstore.Value{Data: []byte(`{"format":2}`)})
	require.NoError(t, err)
	_, err = s.backend.Put(ctx, taskstore.Key{Owner: registryPrefix + "3", Task: "x"}, taskstore.Value{Data: []byte(`{"format":2,"x":1}`)})
	require.NoError(t, err)
	assert.Equal(t, []string{fine.ID}, orphans(t, s))
	assert.Equal(t, 3, registryEntries(t, s))

	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range s.Orphans(done) {
		assert.ErrorIs(t, err, context.Canceled)
	}
}
