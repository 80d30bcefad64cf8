package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// detached makes a task whose work goes on elsewhere, and opens it.
func detached(tb testing.TB, s *Store, p CreateParams, deadline time.Duration) (Ref, *Run) {
	tb.Helper()
	p.Holder = "handler"
	ref, err := s.RunOf(create(tb, s, p)).Detach(ctx, deadline, nil)
	require.NoError(tb, err)
	return ref, opened(tb, s, ref)
}

func opened(tb testing.TB, s *Store, ref Ref) *Run {
	tb.Helper()
	run, err := s.Open(ctx, ref)
	require.NoError(tb, err)
	return run
}

func TestDetachedWorkIsEndedByWhoeverHasTheReference(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Holder: "handler", Resumable: true, Request: raw(`{"a":1}`)})
		handler := s.RunOf(task)
		_, err := handler.SaveState(ctx, []byte("the handler's own"))
		require.NoError(t, err)
		ref, err := handler.Detach(ctx, time.Minute, []byte("so far"))
		require.NoError(t, err)
		assert.Empty(t, registryEntriesOf(t, s, task.ID), "nobody is to resume it")
		for name, try := range runWrites(handler) {
			_, err := try()
			assert.ErrorIs(t, err, ErrLeaseLost, name)
		}
		other := newStore(t, s.backend, nil)
		worker := opened(t, other, ref)
		got := worker.Task()
		assert.Equal(t, "so far", string(got.State))
		assert.Equal(t, raw(`{"a":1}`), got.Request)
		assert.Equal(t, uint64(2), got.Lease.Token)
		assert.Equal(t, task.Revision, got.Revision, "clients see nothing of it")
		_, err = worker.SetStatusMessage(ctx, "half")
		require.NoError(t, err)
		_, err = worker.SaveState(ctx, []byte("further"))
		require.NoError(t, err)
		_, err = s.Acquire(ctx, owner, task.ID, "thief")
		assert.ErrorIs(t, err, ErrLeaseHeld)
		assert.Empty(t, orphans(t, s))
		again := opened(t, s, ref) // after a crash of the worker
		assert.Equal(t, "further", string(again.Task().State))
		_, err = again.Complete(ctx, raw(`"done"`))
		require.NoError(t, err)
		_, err = worker.Fail(ctx, Error{Message: "late"})
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, Completed, get(t, s, task.ID).Status)
	})
}

func TestAStaleReferenceIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, c := range map[string]struct {
			end  func(*Run) error
			want []error
		}{
			"ended":   {func(r *Run) error { _, err := r.Complete(ctx, raw(`1`)); return err }, []error{ErrLeaseLost, ErrTerminal}},
			"deleted": {func(r *Run) error { return s.Delete(ctx, owner, r.id) }, []error{ErrLeaseLost, ErrNotFound}},
			"handed on": {func(r *Run) error {
				_, err := r.Detach(ctx, 0, nil)
				return err
			}, []error{ErrLeaseLost}},
		} {
			ref, run := detached(t, s, CreateParams{}, 0)
			require.NoError(t, c.end(run), name)
			_, err := s.Open(ctx, ref)
			for _, want := range c.want {
				assert.ErrorIs(t, err, want, name)
			}
			if name == "handed on" {
				assert.NotErrorIs(t, err, ErrTerminal)
			}
			for write, try := range runWrites(run) {
				_, err := try()
				assert.ErrorIs(t, err, ErrLeaseLost, name+": "+write)
			}
		}
	})
}

func TestWhatIsNoReferenceIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		foreign, _ := detached(t, memoryStore(t, nil), CreateParams{}, 0)
		_, err := s.Open(ctx, foreign)
		assert.ErrorIs(t, err, ErrInvalid, "a store without a secret")
		ref, _ := detached(t, s, CreateParams{}, 0)
		bad := []Ref{"", "x", "AQ", foreign, ref[:len(ref)-4], ref + "AAAA", ref + "="}
		for i := range ref {
			other := "A"
			if ref[i] == 'A' {
				other = "B"
			}
			bad = append(bad, ref[:i]+Ref(other)+ref[i+1:])
		}
		for _, r := range bad {
			_, err := s.Open(ctx, r)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, ErrLeaseLost)
		}
		_, err = s.Open(ctx, "Ag"+ref[2:])
		assert.ErrorIs(t, err, ErrFormat)
	})
}

func TestAReferenceShowsNothing(t *testing.T) {
	s := memoryStore(t, nil)
	task, _, err := s.Create(ctx, "alice@example.com", CreateParams{Holder: "x"})
	require.NoError(t, err)
	ref, err := s.RunOf(task).Detach(ctx, 0, nil)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "ref", ref)
	printed := []string{fmt.Sprint(ref), fmt.Sprintf("%v %+v %#v %s %q %x", ref, ref, ref, ref, ref, ref), ref.String(), log.String()}
	for _, p := range printed {
		assert.NotContains(t, p, string(ref))
		assert.NotContains(t, p, fmt.Sprintf("%x", string(ref)))
	}
	plain, err := refEncoding.DecodeString(string(ref))
	require.NoError(t, err)
	assert.NotContains(t, string(plain), "alice")
	assert.NotContains(t, string(ref), "alice")
	longest, _, err := s.Create(ctx, strings.Repeat("o", MaxOwnerLength), CreateParams{Holder: "x"})
	require.NoError(t, err)
	ref, err = s.RunOf(longest).Detach(ctx, 0, nil)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(ref), 1536)
	assert.Equal(t, longest.Owner, opened(t, s, ref).Task().Owner)
}

// All replicas that detach at the same time, the first time in a store, have one secret.
func TestThereIsOneSecret(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		refs := make(chan Ref, 16)
		for range cap(refs) {
			_, run := running(t, s)
			go func() {
				ref, err := run.Detach(ctx, 0, nil)
				assert.NoError(t, err)
				refs <- ref
			}()
		}
		for range cap(refs) {
			opened(t, s, <-refs)
		}
	})
}

func TestSilenceUntilTheDeadlineFailsTheTask(t *testing.T) {
	for _, resumable := range []bool{false, true} {
		for _, cancelled := range []bool{false, true} {
			t.Run(fmt.Sprintf("resumable=%v,cancelled=%v", resumable, cancelled), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := memoryStore(t, nil)
					ref, run := detached(t, s, CreateParams{Resumable: resumable, TTL: time.Minute}, 2*time.Hour)
					id := run.Task().ID
					if cancelled {
						_, err := s.Cancel(ctx, owner, id)
						require.NoError(t, err)
					}
					time.Sleep(2 * time.Hour)
					assert.Equal(t, Working, get(t, s, id).Status, "far beyond a lease and TTL")
					abandon(t, s)
					assert.Empty(t, orphans(t, s))
					got := get(t, s, id)
					if cancelled {
						assert.Equal(t, Cancelled, got.Status)
					} else {
						assert.Equal(t, Failed, got.Status)
						assert.Equal(t, &Error{Code: -32603, Message: MessageDeadline}, got.Error)
					}
					_, err := run.Complete(ctx, raw(`1`))
					assert.ErrorIs(t, err, ErrLeaseLost)
					_, err = s.Open(ctx, ref)
					assert.ErrorIs(t, err, ErrTerminal)
				})
			})
		}
	}
}

func TestADeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{}, time.Minute)
		for range 10 {
			time.Sleep(50 * time.Second)
			_, err := run.Extend(ctx, time.Minute)
			require.NoError(t, err)
			assert.Equal(t, Working, get(t, s, run.id).Status)
		}
		before := run.Task().Lease.ExpiresAt
		got, err := run.Extend(ctx, time.Second)
		require.NoError(t, err)
		assert.Equal(t, before, got.Lease.ExpiresAt, "it never gets shorter")
		time.Sleep(61 * time.Second)
		assert.False(t, get(t, s, run.id).Lease.IdleSince.IsZero(), "suspected")
		got, err = run.SetStatusMessage(ctx, "I live") // late, and nobody has settled it
		require.NoError(t, err)
		assert.True(t, got.Lease.IdleSince.IsZero())
		for _, d := range []time.Duration{0, -1, time.Microsecond, maxDuration + 1} {
			_, err := run.Extend(ctx, d)
			assert.ErrorIs(t, err, ErrInvalid)
		}
	})
}

func TestTheDefaultDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{TTL: 10 * time.Minute}, 0)
		assert.Equal(t, 10*time.Minute, time.Until(run.Task().Lease.ExpiresAt))
		endless := memoryStore(t, &Options{MaxTTL: -1, DefaultTTL: -1})
		_, without := running(t, endless)
		_, err := without.Detach(ctx, 0, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		_, err = without.Detach(ctx, -time.Second, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.False(t, get(t, endless, without.id).Lease.Detached)
		_, err = without.Detach(ctx, time.Hour, nil)
		assert.NoError(t, err)
	})
}

func TestMaxTTLEndsDetachedWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		_, run := detached(t, s, CreateParams{}, 48*time.Hour)
		time.Sleep(24*time.Hour - time.Second)
		assert.Equal(t, Working, get(t, s, run.id).Status)
		time.Sleep(time.Second)
		assert.Equal(t, MessageOvertime, get(t, s, run.id).StatusMessage)
	})
}

func TestAQuestionReachesTheClientAndItsAnswerTheWorker(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		ref, run := detached(t, s, CreateParams{}, 0)
		asked := make(chan map[string]string, 2)
		ask := func(run *Run) {
			answers, err := run.Ask(ctx, inputs("name", "age"))
			assert.NoError(t, err)
			got := map[string]string{}
			for key, answer := range answers {
				got[key] = string(answer)
			}
			asked <- got
		}
		go ask(run)
		waiting, err := s.Wait(ctx, owner, run.id, 1)
		require.NoError(t, err)
		assert.Equal(t, InputRequired, waiting.Status)
		assert.True(t, waiting.Lease.Detached)
		_, err = run.SetStatusMessage(ctx, "waits for the user") // it is still the runner
		require.NoError(t, err)
		go ask(opened(t, s, ref)) // another, after a crash
		for key, value := range map[string]string{"name": `"Alice"`, "age": `30`} {
			_, err = s.ProvideInput(ctx, owner, run.id, map[string]json.RawMessage{key: raw(value)}, nil)
			require.NoError(t, err)
		}
		want := map[string]string{"name": `"Alice"`, "age": `30`}
		assert.Equal(t, want, <-asked)
		assert.Equal(t, want, <-asked)
		ask(opened(t, s, ref)) // and one more, after the answers
		assert.Equal(t, want, <-asked)
		got := get(t, s, run.id)
		assert.Equal(t, Working, got.Status)
		assert.True(t, got.Lease.Detached)
		assert.True(t, got.Lease.IdleSince.IsZero())
		_, err = run.Ask(ctx, inputs("name"))
		assert.ErrorIs(t, err, ErrInputKeyReused)
		_, err = run.Ask(ctx, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		_, attached := running(t, s)
		_, err = attached.Ask(ctx, inputs("x"))
		assert.ErrorIs(t, err, ErrInvalid)
		_, err = run.Release(ctx)
		assert.ErrorIs(t, err, ErrInvalid)
	})
}

func TestTheDeadlineStandsStillWhileAQuestionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, nil)
		answer := func(run *Run, key string) time.Duration {
			got, err := s.ProvideInput(ctx, owner, run.id, map[string]json.RawMessage{key: raw(`1`)}, nil)
			require.NoError(t, err)
			require.Equal(t, Working, got.Status)
			return time.Until(got.Lease.ExpiresAt)
		}
		_, run := detached(t, s, CreateParams{}, 10*time.Minute)
		time.Sleep(4 * time.Minute)
		_, err := run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		time.Sleep(20 * time.Minute)
		_, err = run.SaveState(ctx, []byte("x")) // does not take back since when it waits
		require.NoError(t, err)
		assert.Equal(t, InputRequired, get(t, s, run.id).Status)
		assert.Equal(t, 6*time.Minute, answer(run, "a"))
		time.Sleep(6*time.Minute - time.Second)
		_, err = run.RequireInput(ctx, inputs("b"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, 30*time.Second, answer(run, "b"), "a lease at least, to hear of it")
		_, err = run.RequireInput(ctx, inputs("c"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = run.Extend(ctx, time.Hour) // as if it had been done when it asked
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, time.Hour, answer(run, "c"))
	})
}

func TestACancelEndsTheWorkersContext(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, c := range map[string]struct {
			end  func(*Run) error
			want error
		}{
			"cancel": {func(r *Run) error { _, err := s.Cancel(ctx, owner, r.id); return err }, ErrCancelled},
			"cancel of a task that asks": {func(r *Run) error {
				if _, err := r.RequireInput(ctx, inputs("a")); err != nil {
					return err
				}
				got, err := s.Cancel(ctx, owner, r.id)
				assert.Equal(t, Cancelled, got.Status, "nobody may be there to see a request")
				return err
			}, ErrCancelled},
			"another ends it": {func(r *Run) error { _, err := s.Fail(ctx, owner, r.id, Error{}); return err }, ErrTerminal},
			"it is handed on": {func(r *Run) error { _, err := r.Detach(ctx, 0, nil); return err }, ErrLeaseLost},
			"it is handed on, and then cancelled": {func(r *Run) error {
				_, err := r.Detach(ctx, 0, nil)
				require.NoError(t, err)
				_, err = s.Cancel(ctx, owner, r.id)
				return err
			}, ErrLeaseLost},
			"it is deleted":     {func(r *Run) error { return s.Delete(ctx, owner, r.id) }, ErrNotFound},
			"the program's own": {nil, context.Canceled},
		} {
			_, run := detached(t, s, CreateParams{}, 0)
			working, cancel := run.Context(ctx)
			assert.NoError(t, working.Err(), name)
			if c.end == nil {
				cancel()
			} else {
				require.NoError(t, c.end(run), name)
			}
			<-working.Done()
			assert.ErrorIs(t, context.Cause(working), c.want, name)
			cancel()
			cancel()
			if c.end != nil {
				late, cancel := run.Context(ctx)
				<-late.Done()
				assert.ErrorIs(t, context.Cause(late), c.want, name+", before it looks")
				cancel()
			}
		}
	})
}

func TestAnAskThatIsCancelledSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		_, run := detached(t, s, CreateParams{}, 0)
		go func() {
			_, err := s.Wait(ctx, owner, run.id, 1)
			assert.NoError(t, err)
			_, err = s.Cancel(ctx, owner, run.id)
			assert.NoError(t, err)
		}()
		_, err := run.Ask(ctx, inputs("a"))
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.ErrorIs(t, err, ErrTerminal)
		_, run = detached(t, s, CreateParams{}, 0)
		_, err = s.Cancel(ctx, owner, run.id)
		require.NoError(t, err)
		_, err = run.Ask(ctx, inputs("a"))
		assert.ErrorIs(t, err, ErrTerminal)
		assert.Equal(t, Cancelled, get(t, s, run.id).Status)
		_, run = detached(t, s, CreateParams{}, 0)
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err = run.Ask(short, inputs("a"))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A Detach that fails for good has changed nothing.
func TestADetachThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, is := range map[string]func(taskstore.Key) bool{
			"no secret": func(k taskstore.Key) bool { return k == secretKey }, "no task": isTask,
		} {
			s, other, b := hookedStore(t, nil)
			task, run := running(t, s)
			b.before = func(op string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
				if op == "write" && is(k) {
					return assert.AnError
				}
				return nil
			}
			_, err := run.Detach(ctx, 0, nil)
			assert.ErrorIs(t, err, assert.AnError, name)
			assert.Equal(t, task, get(t, other, task.ID), name)
			b.before = nil
			_, err = run.Renew(ctx)
			assert.NoError(t, err, name)
		}
	})
}
