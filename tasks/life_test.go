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

// The rule that these tests hold: no record expires while somebody works on its task or
// may go on with it, and each task comes to a visible end at MaxTTL.

// renewFor renews run at a third of the lease for d, and checks the stored record.
func renewFor(t testing.TB, s *Store, run *Run, d time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < d; {
		time.Sleep(s.opts.Lease / 3)
		got, err := run.Renew(ctx)
		require.NoError(t, err)
		raw, err := s.backend.Get(ctx, storedKey(owner, got.ID))
		require.NoError(t, err)
		require.Equal(t, raw.ExpiresAt, got.ExpiresAt)
		least := earlier(got.Lease.ExpiresAt.Add(s.opts.Lease), s.latest(&got))
		require.Equal(t, got.ExpiresAt, later(got.ExpiresAt, least))
		for _, e := range everything(t, s) {
			if e.Key.Task == got.ID || isKey(e.Key) {
				require.Equal(t, e.ExpiresAt, got.ExpiresAt, "entries expire with their task")
			}
		}
	}
}

func TestTaskLivesWhileItIsWorkedOn(t *testing.T) {
	for name, c := range map[string]struct {
		ttl, works time.Duration
	}{
		"a TTL far shorter than the lease": {3 * time.Second, 8 * time.Second},
		"many of those":                    {3 * time.Second, time.Hour},
		"a little longer than the default": {0, 61 * time.Minute},
		"until almost MaxTTL":              {0, 24*time.Hour - 10*time.Second},
	} {
		for _, key := range []string{"", "key"} {
			synctest.Test(t, func(t *testing.T) {
				s := memoryStore(t, nil)
				task := create(t, s, CreateParams{Holder: "x", TTL: c.ttl, IdempotencyKey: key})
				run := s.RunOf(task)
				renewFor(t, s, run, c.works)
				got, err := run.Complete(ctx, raw(`"it is done"`))
				require.NoError(t, err, name)
				assert.Equal(t, got.CreatedAt.Add(got.TTL), got.ExpiresAt)
				assert.WithinDuration(t, time.Now().Add(time.Hour), got.ExpiresAt, time.Second)
				assert.Equal(t, got, get(t, s, task.ID))
				time.Sleep(time.Hour + time.Millisecond)
				assert.Empty(t, everything(t, s), name)
				assert.Zero(t, activeEntries(t, s), name)
			})
		}
	}
}

// A client that polls sees the failure of a task after its runner died, however short the
// TTL. Without a client that polls the task expires all the same.
func TestShortTTLOfATaskIfItsRunnerDies(t *testing.T) {
	for _, polls := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := memoryStore(t, nil)
			task := create(t, s, CreateParams{Holder: "x", TTL: time.Millisecond})
			assert.Equal(t, time.Millisecond, task.TTL, "the client gets this TTL")
			if polls {
				time.Sleep(31*time.Second + 28*time.Second) // late, and yet in time
				assert.Equal(t, Working, get(t, s, task.ID).Status)
				time.Sleep(s.grace())
				assert.Equal(t, MessageRunnerGone, get(t, s, task.ID).Error.Message)
				time.Sleep(time.Hour + time.Millisecond)
			} else {
				time.Sleep(2*time.Minute + time.Millisecond)
			}
			assert.Empty(t, everything(t, s))
			assert.Zero(t, activeEntries(t, s))
		})
	}
}

// A suspicion leaves time to settle the task, even one in the record's last second.
func TestLateSuspicionKeepsTheRecordUntilTheTaskIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task := create(t, s, CreateParams{Holder: "x", TTL: time.Minute})
		require.Equal(t, task.CreatedAt.Add(time.Minute), task.ExpiresAt)
		time.Sleep(59 * time.Second)
		assert.Equal(t, Working, get(t, s, task.ID).Status)
		time.Sleep(s.grace())
		assert.Equal(t, MessageRunnerGone, get(t, s, task.ID).Error.Message)
	})
}

// A renewal that extends the entry and the key along with the task is a bigger write, so
// extensions are seldom.
func TestExtensionsAreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
		s := newStore(t, c, nil)
		for ttl, most := range map[time.Duration]int{time.Second: 180, time.Minute: 180, time.Hour: 3} {
			run := s.RunOf(create(t, s, CreateParams{Holder: "x", TTL: ttl, IdempotencyKey: ttl.String()}))
			extensions := 0
			for begin := time.Now(); time.Since(begin) < 3*time.Hour; { // at most every other lease
				time.Sleep(s.opts.Lease / 3)
				c.batches.Store(0)
				_, err := run.Renew(ctx)
				require.NoError(t, err)
				extensions += int(c.batches.Load())
			}
			assert.LessOrEqual(t, extensions, most, ttl)
			assert.Positive(t, extensions, ttl)
		}
	})
}

// The entry and the key are extended with the task: if that fails, so does the renewal.
func TestRenewalThatCannotExtendItsTasksEntriesFails(t *testing.T) {
	for name, place := range map[string]func(taskstore.Key) bool{"entry": isActive, "key": isKey} {
		synctest.Test(t, func(t *testing.T) {
			s, _, b := hookedStore(t, nil)
			task := create(t, s, CreateParams{Holder: "x", TTL: time.Second, IdempotencyKey: "key"})
			run := s.RunOf(task)
			time.Sleep(20 * time.Second)
			_, err := run.Renew(ctx)
			require.NoError(t, err)
			time.Sleep(20 * time.Second)
			_, err = run.Renew(ctx)
			require.NoError(t, err)
			before := get(t, s, task.ID)
			time.Sleep(25 * time.Second)
			boom := errors.New("connection refused")
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "write" && place(k) {
					return boom
				}
				return nil
			}
			_, err = run.Renew(ctx)
			assert.ErrorIs(t, err, boom, name)
			assert.Equal(t, before, get(t, s, task.ID))
			b.before = nil
			_, err = run.Renew(ctx)
			require.NoError(t, err)
			assert.True(t, get(t, s, task.ID).ExpiresAt.After(before.ExpiresAt))
		})
	}
}

// A question that is asked late extends the task, so that its client has time to answer. One
// that is asked early leaves the expiry as it was.
func TestQuestionGivesTimeToAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		opts   Options
		p      CreateParams
		works  time.Duration
		expiry time.Duration // from the creation on
	}{
		"early":               {Options{}, CreateParams{Holder: "x"}, 30 * time.Minute, time.Hour},
		"late":                {Options{}, CreateParams{Holder: "x"}, 30*time.Minute + 10*time.Second, 90*time.Minute + 10*time.Second},
		"later than its TTL":  {Options{}, CreateParams{Holder: "x", TTL: time.Minute}, 10 * time.Minute, 11*time.Minute + 10*time.Second},
		"without a lease":     {Options{}, CreateParams{}, 40 * time.Minute, 100 * time.Minute},
		"close to MaxTTL":     {Options{MaxTTL: time.Hour}, CreateParams{Holder: "x"}, 50 * time.Minute, time.Hour + 30*time.Second},
		"resumable":           {Options{}, CreateParams{Holder: "x", Resumable: true}, 10 * time.Minute, 24*time.Hour + 30*time.Second},
		"resumable, no cap":   {Options{MaxTTL: -1}, CreateParams{Holder: "x", Resumable: true}, 10 * time.Minute, 70 * time.Minute},
		"without end, no cap": {Options{MaxTTL: -1}, CreateParams{Holder: "x", TTL: -1}, 10 * time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memoryStore(t, &c.opts)
				task := create(t, s, c.p)
				switch {
				case c.p.Holder == "":
					time.Sleep(c.works)
				default:
					for range c.works / (10 * time.Second) {
						time.Sleep(10 * time.Second)
						_, err := s.RunOf(task).Renew(ctx)
						require.NoError(t, err)
					}
				}
				asked, err := s.RequireInput(ctx, owner, task.ID, inputs("a", "b"))
				require.NoError(t, err)
				assert.Equal(t, task.TTL, asked.TTL)
				if c.expiry == 0 {
					assert.Zero(t, asked.ExpiresAt)
				} else {
					assert.WithinDuration(t, task.CreatedAt.Add(c.expiry), asked.ExpiresAt, 30*time.Second)
				}
				time.Sleep(30 * time.Second)
				got, err := s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
				require.NoError(t, err)
				assert.Equal(t, asked.ExpiresAt, got.ExpiresAt, "a partial answer keeps the expiry")
				got, err = s.ProvideInput(ctx, owner, task.ID, inputs("b"), nil)
				require.NoError(t, err)
				switch {
				case c.p.Resumable && c.opts.MaxTTL < 0:
					assert.Zero(t, got.ExpiresAt)
				default:
					assert.False(t, later(got.ExpiresAt, asked.ExpiresAt).After(got.ExpiresAt), "it is kept for no shorter")
				}
			})
		})
	}
}

// An answer at the last moment leaves time for somebody to go on.
func TestLateAnswerKeepsItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		task, run := running(t, s)
		asked, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		time.Sleep(time.Until(asked.ExpiresAt))
		got, err := s.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
		require.NoError(t, err)
		assert.False(t, got.ExpiresAt.Before(got.Lease.ExpiresAt.Add(s.opts.Lease)))
		time.Sleep(29 * time.Second)
		run, err = s.Acquire(ctx, owner, task.ID, "y")
		require.NoError(t, err)
		_, err = run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
	})
}

// A TTL that Update makes shorter takes no record from under a runner.
func TestUpdateOfTTL(t *testing.T) {
	setTTL := func(t *testing.T, s *Store, id string, ttl time.Duration) Task {
		got, err := s.Update(ctx, owner, id, func(t *Task) error { t.TTL = ttl; return nil })
		require.NoError(t, err)
		assert.Equal(t, ttl, got.TTL)
		assert.Equal(t, got, get(t, s, id))
		return got
	}
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		unleased := create(t, s, CreateParams{})
		leased, run := running(t, s)
		resumable := create(t, s, CreateParams{Holder: "x", Resumable: true})
		at := unleased.CreatedAt
		assert.Equal(t, at.Add(10*time.Minute), setTTL(t, s, unleased.ID, 10*time.Minute).ExpiresAt)
		assert.Equal(t, at.Add(10*time.Minute), setTTL(t, s, leased.ID, 10*time.Minute).ExpiresAt)
		assert.Equal(t, at.Add(2*time.Minute), setTTL(t, s, leased.ID, time.Second).ExpiresAt)
		assert.Equal(t, resumable.ExpiresAt, setTTL(t, s, resumable.ID, time.Second).ExpiresAt)
		assert.Equal(t, at.Add(20*time.Hour), setTTL(t, s, leased.ID, 20*time.Hour).ExpiresAt)
		assert.Equal(t, resumable.ExpiresAt, setTTL(t, s, resumable.ID, 20*time.Hour).ExpiresAt)

		setTTL(t, s, leased.ID, time.Minute)
		renewFor(t, s, run, 10*time.Minute)
		before := get(t, s, leased.ID)
		assert.Equal(t, before.ExpiresAt, setTTL(t, s, leased.ID, 5*time.Minute).ExpiresAt, "longer, and long over")

		s = memoryStore(t, &Options{MaxTTL: -1})
		endless := create(t, s, CreateParams{TTL: -1})
		assert.Equal(t, endless.CreatedAt.Add(time.Hour), setTTL(t, s, endless.ID, time.Hour).ExpiresAt)
		assert.Zero(t, setTTL(t, s, endless.ID, 0).ExpiresAt)
	})
}
