package tasks

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// RequireInput writes the questions and the state together, or fails without effect.
func TestParkIsOneWrite(t *testing.T) {
	c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, c, &Options{MaxStateBytes: 5})
	task, run := running(t, s)
	_, err := run.SaveState(ctx, []byte("first"))
	require.NoError(t, err)
	before := get(t, s, task.ID)
	_, err = run.Park(ctx, []byte("too long"), inputs("a"))
	assert.ErrorIs(t, err, ErrLimit)
	_, err = run.Park(ctx, []byte("next"), nil)
	assert.ErrorIs(t, err, ErrInvalid)
	assert.Equal(t, before, get(t, s, task.ID))

	c.calls.Store(0)
	got, err := run.Park(ctx, []byte("next"), inputs("a"))
	require.NoError(t, err)
	assert.Equal(t, int64(1), c.calls.Load())
	assert.Equal(t, before.Version+1, got.Version)
	assert.Equal(t, InputRequired, got.Status)
	assert.Equal(t, inputs("a"), got.InputRequests)
	assert.Equal(t, []byte("next"), got.State)
	assert.Equal(t, Lease{Token: 1}, got.Lease)
	assert.Equal(t, got, get(t, s, task.ID))

	task, run = running(t, s) // the request to cancel goes before
	_, err = s.Cancel(ctx, owner, task.ID)
	require.NoError(t, err)
	got, err = run.Park(ctx, []byte("next"), inputs("a"))
	require.NoError(t, err)
	assert.Equal(t, Cancelled, got.Status)
	assert.Nil(t, got.State)
}

func TestInputRounds(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		got, err := run.RequireInput(ctx, inputs("b", "a"))
		require.NoError(t, err)
		assert.Equal(t, InputRequired, got.Status)
		assert.Equal(t, inputs("a", "b"), got.InputRequests)
		assert.Equal(t, []string{"a", "b"}, got.InputKeys)
		assert.Equal(t, Lease{Token: 1}, got.Lease)
		_, err = s.Acquire(ctx, owner, task.ID, "x")
		assert.ErrorIs(t, err, ErrTransition, "parked")
		_, err = s.RequireInput(ctx, owner, task.ID, inputs("c"))
		assert.ErrorIs(t, err, ErrTransition)

		// One answer, beside an unknown key with rubbish.
		got, err = s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"a": raw(` "A" `), "z": raw(`}`)}, nil)
		require.NoError(t, err)
		assert.Equal(t, InputRequired, got.Status)
		assert.Equal(t, inputs("b"), got.InputRequests)
		assert.Equal(t, map[string]json.RawMessage{"a": raw(`"A"`)}, got.InputResponses)

		// Answered already: the store ignores the answer and writes no record.
		again, err := s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"a": raw(`"other"`)}, nil)
		require.NoError(t, err)
		assert.Equal(t, got, again)

		// Not JSON: refused whole.
		_, err = s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"b": raw(`{`)}, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.Equal(t, got, get(t, s, task.ID))

		got, err = s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"b": raw(`"B"`)}, nil)
		require.NoError(t, err)
		assert.Equal(t, Working, got.Status)
		assert.Nil(t, got.InputRequests)
		assert.Len(t, got.InputResponses, 2)
		assert.Empty(t, got.Lease.Holder)
		late, err := s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"b": raw(`"late"`)}, nil)
		require.NoError(t, err)
		assert.Equal(t, got, late)

		run, err = s.Acquire(ctx, owner, task.ID, "next")
		require.NoError(t, err)
		assert.Equal(t, raw(`"A"`), run.Task().InputResponses["a"])
		assert.Equal(t, uint64(2), run.Task().Lease.Token)
		assert.Equal(t, got.Revision, run.Task().Revision)

		// A key of a former round cannot come again; answers of it are dropped.
		_, err = run.RequireInput(ctx, inputs("c", "a"))
		var reused *InputKeyError
		require.ErrorAs(t, err, &reused)
		assert.ErrorIs(t, err, ErrInputKeyReused)
		assert.Equal(t, "a", reused.Key)
		got, err = run.RequireInput(ctx, inputs("c"))
		require.NoError(t, err)
		assert.Nil(t, got.InputResponses)
		assert.Equal(t, []string{"a", "b", "c"}, got.InputKeys)

		// The question is taken back.
		got, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.Status = Working; return nil })
		require.NoError(t, err)
		assert.Nil(t, got.InputRequests)
		assert.Equal(t, got, get(t, s, task.ID))
		_, err = s.Complete(ctx, owner, task.ID, raw(`1`))
		require.NoError(t, err)
	})
}

func TestInputRefusals(t *testing.T) {
	s := memoryStore(t, nil)
	task, run := running(t, s)
	for name, requests := range map[string]map[string]json.RawMessage{
		"none":      nil,
		"empty key": {"": raw(`1`)},
		"not UTF-8": {"\xff": raw(`1`)},
		"not JSON":  {"a": raw(`x`)},
		"no value":  {"a": nil},
		"too deep":  {"a": raw(strings.Repeat("[", 1001) + strings.Repeat("]", 1001))},
	} {
		_, err := run.RequireInput(ctx, requests)
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
	assert.Equal(t, task, get(t, s, task.ID))
}

// A caller that could not go on with the task refuses the answers before they are taken.
func TestProvideInputAsksBeforeItTakesAnswers(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	boom := errors.New("this replica drains")
	refuse := func(Task) error { return boom }
	var seen []Task
	look := func(t Task) error {
		seen = append(seen, t)
		t.InputRequests["invented"], t.State[0] = raw(`1`), 'X' // its own copy
		return nil
	}
	task, run := running(t, s)
	asked, err := run.Park(ctx, []byte("state"), inputs("a", "b", "c"))
	require.NoError(t, err)

	for _, answers := range []map[string]json.RawMessage{inputs("a"), inputs("a", "b", "c"), inputs("a", "unknown")} {
		_, err = s.ProvideInput(ctx, owner, task.ID, answers, refuse)
		assert.Equal(t, boom, err)
		assert.Equal(t, asked, get(t, s, task.ID))
	}
	for _, answers := range []map[string]json.RawMessage{nil, inputs("unknown")} { // no answers to refuse
		got, err := s.ProvideInput(ctx, owner, task.ID, answers, refuse)
		require.NoError(t, err)
		assert.Equal(t, asked, got)
	}
	got, err := s.ProvideInput(ctx, owner, task.ID, inputs("a", "b", "unknown"), look)
	require.NoError(t, err)
	assert.Equal(t, []Task{asked}, asTasks(seen, "invented"), "once, with the task before its answers")
	assert.Equal(t, inputs("c"), got.InputRequests)
	assert.Equal(t, []byte("state"), got.State)
	_, err = s.ProvideInput(ctx, owner, task.ID, inputs("a"), refuse)
	require.NoError(t, err, "it was answered before")

	// The one that was faster has changed the task: it is asked again, about that.
	seen = nil
	b.onceBefore("write", isTask, func() error {
		_, err := other.Cancel(ctx, owner, task.ID)
		return err
	})
	got, err = s.ProvideInput(ctx, owner, task.ID, inputs("c"), func(t Task) error {
		seen = append(seen, t)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, Cancelled, got.Status)
	assert.Len(t, seen, 1, "an ended task is not checked")
	_, err = s.ProvideInput(ctx, owner, task.ID, inputs("c"), refuse)
	require.NoError(t, err)

	task, run = running(t, s)
	_, err = run.RequireInput(ctx, inputs("a", "b"))
	require.NoError(t, err)
	asks := 0
	b.onceBefore("write", isTask, func() error {
		_, err := other.ProvideInput(ctx, owner, task.ID, inputs("a"), nil)
		return err
	})
	_, err = s.ProvideInput(ctx, owner, task.ID, inputs("a", "b"), func(t Task) error {
		if asks++; len(t.InputRequests) == 1 {
			return boom
		}
		return nil
	})
	assert.Equal(t, boom, err)
	assert.Equal(t, 2, asks)
	assert.Equal(t, inputs("b"), get(t, s, task.ID).InputRequests)
}

// asTasks undoes the test's changes to the copies that it got.
func asTasks(all []Task, invented string) []Task {
	for i := range all {
		delete(all[i].InputRequests, invented)
		all[i].State[0] = 's'
	}
	return all
}

// The store takes one of many answers to each question, and one caller resumes the task.
func TestConcurrentAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		keys := []string{"a", "b", "c", "d"}
		_, err := run.RequireInput(ctx, inputs(keys...))
		require.NoError(t, err)
		var wg sync.WaitGroup
		var resumed atomic.Int64
		for i := range 32 {
			wg.Go(func() {
				got, err := s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{keys[i%4]: raw(strconv.Itoa(i))}, nil)
				require.NoError(t, err)
				if got.Status == Working {
					if _, err := s.Acquire(ctx, owner, task.ID, "r"+strconv.Itoa(i)); err == nil {
						resumed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		assert.Equal(t, int64(1), resumed.Load())
		got := get(t, s, task.ID)
		assert.Len(t, got.InputResponses, 4)
		assert.Equal(t, uint64(1+1+4), got.Revision)
	})
}
