package tasks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A runner hears at once that somebody suspects it, by the hint of that write, and of
// all else that happens to its task.
func TestRunChanges(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		task := create(t, s, CreateParams{Holder: "x", Resumable: true})
		run := s.RunOf(task)
		begin := time.Now()
		at := func(d time.Duration) { time.Sleep(time.Until(begin.Add(d))) }
		go func() {
			at(10 * time.Second)
			_, err := run.SaveState(ctx, []byte("invisible"))
			assert.NoError(t, err)
			at(40 * time.Second)
			get(t, s, task.ID) // suspects
			at(48 * time.Second)
			_, err = run.Renew(ctx)
			assert.NoError(t, err)
			at(60 * time.Second)
			_, err = s.Cancel(ctx, owner, task.ID)
			assert.NoError(t, err)
			at(70 * time.Second)
			_, err = run.Cancelled(ctx)
			assert.NoError(t, err)
		}()
		want := []struct {
			at        time.Duration
			suspected bool
			cancel    bool
		}{{0, false, false}, {40, true, false}, {48, false, false}, {60, false, true}, {70, false, true}}
		for got, err := range run.Changes(ctx) {
			require.NoError(t, err)
			require.NotEmpty(t, want)
			assert.GreaterOrEqual(t, time.Since(begin), want[0].at*time.Second)
			assert.LessOrEqual(t, time.Since(begin), want[0].at*time.Second+slack)
			assert.Equal(t, want[0].suspected, !got.Lease.IdleSince.IsZero())
			assert.Equal(t, want[0].cancel, got.CancelRequested)
			assert.Equal(t, got, run.Task(), "the Run has the stored task")
			want = want[1:]
		}
		assert.Empty(t, want)
	})
}

// Run.Changes only reads the task, however late the runner is.
func TestRunChangesNeitherSuspectsNorSettles(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, _ time.Duration) {
		for _, suspected := range []bool{false, true} {
			task, run := running(t, s)
			if suspected {
				time.Sleep(31 * time.Second)
				task = get(t, s, task.ID)
			}
			short, cancel := context.WithTimeout(ctx, 10*s.opts.Lease)
			n := 0
			for got, err := range run.Changes(short) {
				if err != nil {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					break
				}
				assert.Equal(t, task, got)
				n++
			}
			cancel()
			assert.Equal(t, 1, n)
			got, err := run.Renew(ctx)
			require.NoError(t, err)
			assert.Equal(t, task.Version+1, got.Version)
		}
	})
}

// A runner that was taken for dead learns of the take-over by its hint.
func TestRunChangesYieldsATakeOver(t *testing.T) {
	onEachWatch(t, func(t *testing.T, s *Store, slack time.Duration) {
		task := create(t, s, CreateParams{Holder: "x", Resumable: true})
		var taken time.Time
		go func() {
			abandon(t, s)
			_, err := s.Acquire(ctx, owner, task.ID, "y")
			assert.NoError(t, err)
			taken = time.Now()
			time.Sleep(10 * time.Second)
			assert.NoError(t, s.Delete(ctx, owner, task.ID))
		}()
		var last error
		tokens := map[uint64]time.Time{}
		for got, err := range s.RunOf(task).Changes(ctx) {
			if last = err; err == nil {
				assert.Equal(t, task.Revision, got.Revision)
				if _, seen := tokens[got.Lease.Token]; !seen {
					tokens[got.Lease.Token] = time.Now()
				}
			}
		}
		assert.ErrorIs(t, last, ErrNotFound)
		assert.Len(t, tokens, 2)
		assert.LessOrEqual(t, tokens[2].Sub(taken), slack)
	})
}

// Between two looks the task was suspected and taken over.
func TestRunChangesYieldsATakeOverThatItSeesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, plain{taskstore.NewMemoryBackend(nil)}, &Options{PollInterval: 10 * time.Minute})
		task := create(t, s, CreateParams{Holder: "x", Resumable: true})
		go func() {
			time.Sleep(time.Second) // so that the look at the lease's end comes first
			abandon(t, s)
			_, err := s.Acquire(ctx, owner, task.ID, "y")
			assert.NoError(t, err)
		}()
		n := 0
		for got, err := range s.RunOf(task).Changes(ctx) {
			require.NoError(t, err)
			if n++; n == 2 {
				assert.Equal(t, uint64(2), got.Lease.Token)
				assert.Zero(t, got.Lease.IdleSince)
				break
			}
		}
		assert.Equal(t, 2, n)
	})
}

func TestRunChangesEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		s := memoryStore(t, nil)
		_, run := running(t, s)
		for range run.Changes(ctx) {
			break
		}
		done, cancel := context.WithCancel(ctx)
		cancel()
		for _, err := range run.Changes(done) {
			assert.ErrorIs(t, err, context.Canceled)
		}
		for _, err := range s.RunOf(Task{ID: "x", Owner: owner}).Changes(ctx) {
			assert.ErrorIs(t, err, ErrNotFound)
		}
		for _, err := range s.RunOf(Task{ID: "x"}).Changes(ctx) {
			assert.ErrorIs(t, err, ErrInvalidOwner)
		}
	})
}
