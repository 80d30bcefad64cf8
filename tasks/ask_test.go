package tasks

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
