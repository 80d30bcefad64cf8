package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A witness writes down the calls of an Observer.
type witness struct {
	mu    sync.Mutex
	lines []string
}

func (w *witness) say(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, a...))
}

// take returns the lines since the last call.
func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

func (w *witness) observer() *Observer {
	return &Observer{
		Created: func(_ context.Context, t *Task) { w.say("created %s for %s", t.Status, t.Request) },
		Acquired: func(_ context.Context, t *Task, wait time.Duration, lost bool) {
			w.say("acquired by %s after %v, lost %v", t.Lease.Holder, wait, lost)
		},
		Ended: func(_ context.Context, t *Task, settled bool) {
			w.say("ended %s for %s, settled %v", t.Status, t.Request, settled)
		},
		Refused: func(_ context.Context, l *LimitError) { w.say("refused %s", l.Limit) },
	}
}

func TestObserverIsToldOfEachEndOnce(t *testing.T) {
	w := &witness{}
	b := taskstore.NewMemoryBackend(nil)
	s, other := newStore(t, b, &Options{Observer: w.observer()}), newStore(t, b, nil)
	request := raw(`{"name":"tool"}`)
	for name, end := range map[string]func(task Task) error{
		"ended completed for " + string(request) + ", settled false": func(task Task) error {
			_, err := s.RunOf(task).Complete(ctx, raw(`{}`))
			return err
		},
		"ended failed for " + string(request) + ", settled false": func(task Task) error {
			_, err := s.Fail(ctx, owner, task.ID, Error{Message: "no"})
			return err
		},
		"ended cancelled for " + string(request) + ", settled false": func(task Task) error {
			_, err := s.RunOf(task).Cancelled(ctx)
			return err
		},
	} {
		task := create(t, s, CreateParams{Request: request, Holder: "runner"})
		assert.Equal(t, []string{"created working for " + string(request)}, w.take())
		require.NoError(t, end(task))
		assert.Equal(t, []string{name}, w.take())
		_, err := s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		require.ErrorIs(t, end(task), ErrTerminal)
		get(t, s, task.ID)
		assert.Empty(t, w.take(), "an end that was before is not told")
	}
	task := create(t, s, CreateParams{Holder: "runner"})
	w.take()
	_, err := other.RunOf(task).Complete(ctx, raw(`{}`))
	require.NoError(t, err)
	get(t, s, task.ID)
	assert.Empty(t, w.take(), "another process tells of its writes")
}

// The observer gets the request of a task that has lost it at its end for want of room.
func TestObserverIsToldTheRequestThatTheEndDropped(t *testing.T) {
	w := &witness{}
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 1024}), &Options{Observer: w.observer()})
	request := jsonOf(500)
	task := create(t, s, CreateParams{Request: request, Holder: "runner"})
	w.take()
	got, err := s.RunOf(task).Complete(ctx, jsonOf(500))
	require.NoError(t, err)
	assert.Nil(t, got.Request)
	assert.Equal(t, []string{"ended completed for " + string(request) + ", settled false"}, w.take())
}

func TestObserverIsToldOfSettledAndAcquiredTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		s := memoryStore(t, &Options{Observer: w.observer(), Lease: 9 * time.Second})
		gone := create(t, s, CreateParams{Holder: "runner"})
		lost := create(t, s, CreateParams{Holder: "runner", Resumable: true})
		w.take()
		abandon(t, s)
		get(t, s, gone.ID)
		get(t, s, gone.ID)
		assert.Equal(t, []string{"ended failed for , settled true"}, w.take())
		time.Sleep(4 * time.Second)
		run, err := s.Acquire(ctx, owner, lost.ID, "second")
		require.NoError(t, err)
		_, err = s.Acquire(ctx, owner, lost.ID, "third")
		require.ErrorIs(t, err, ErrLeaseHeld)
		assert.Equal(t, []string{"acquired by second after 7s, lost true"}, w.take(), "3 s of suspicion, and 4 s more")
		_, err = run.RequireInput(ctx, inputs("a"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = s.ProvideInput(ctx, owner, lost.ID, inputs("a"), nil)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		run, err = s.Acquire(ctx, owner, lost.ID, "third")
		require.NoError(t, err)
		assert.Equal(t, []string{"acquired by third after 2s, lost false"}, w.take())
		_, err = run.Release(ctx)
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		_, err = s.Acquire(ctx, owner, lost.ID, "fourth")
		require.NoError(t, err)
		assert.Equal(t, []string{"acquired by fourth after 5s, lost false"}, w.take())
		fresh := create(t, s, CreateParams{})
		w.take()
		time.Sleep(time.Second)
		_, err = s.Acquire(ctx, owner, fresh.ID, "fifth")
		require.NoError(t, err)
		assert.Equal(t, []string{"acquired by fifth after 1s, lost false"}, w.take())
	})
}

func TestObserverIsToldOfLimits(t *testing.T) {
	w := &witness{}
	s := memoryStore(t, &Options{Observer: w.observer(), MaxActive: 1, MaxRequestBytes: 10, MaxStateBytes: 2})
	task := create(t, s, CreateParams{Holder: "runner"})
	w.take()
	_, _, err := s.Create(ctx, owner, CreateParams{})
	require.ErrorIs(t, err, ErrLimit)
	_, _, err = s.Create(ctx, owner, CreateParams{Request: raw(`"` + strings.Repeat("x", 10) + `"`)})
	require.ErrorIs(t, err, ErrLimit)
	_, err = s.RunOf(task).SaveState(ctx, []byte("abc"))
	require.ErrorIs(t, err, ErrLimit)
	_, err = s.Get(ctx, owner, "none")
	require.ErrorIs(t, err, ErrNotFound)
	assert.Equal(t, []string{"refused " + string(LimitActive), "refused " + string(LimitRequest), "refused " + string(LimitState)}, w.take())
}

func TestObserverIsToldOfWritesWithLostAnswers(t *testing.T) {
	w := &witness{}
	h := &hooked{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, h, &Options{Observer: w.observer()})
	h.around = func(writes []taskstore.Write) (bool, error) {
		h.around = nil
		require.NoError(t, taskstore.PutBatch(ctx, h.StorageBackend, writes))
		return true, taskstore.ErrOutcomeUnknown
	}
	around := h.around
	task := create(t, s, CreateParams{Holder: "runner", IdempotencyKey: "key"})
	again, created, err := s.Create(ctx, owner, CreateParams{IdempotencyKey: "key"})
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, task.ID, again.ID)
	assert.Equal(t, []string{"created working for "}, w.take())
	h.around = around
	_, err = s.Complete(ctx, owner, task.ID, raw(`{}`))
	require.NoError(t, err)
	assert.Equal(t, []string{"ended completed for , settled false"}, w.take())
}

func TestObserverMayHaveNoFuncs(t *testing.T) {
	s := memoryStore(t, &Options{Observer: &Observer{}, MaxActive: 1})
	task := create(t, s, CreateParams{})
	_, _, err := s.Create(ctx, owner, CreateParams{})
	require.ErrorIs(t, err, ErrLimit)
	run, err := s.Acquire(ctx, owner, task.ID, "runner")
	require.NoError(t, err)
	_, err = run.Complete(ctx, raw(`{}`))
	require.NoError(t, err)
}

func TestPanicOfAnObserverReachesTheCallerAfterTheWrite(t *testing.T) {
	broken := errors.New("broken")
	s := memoryStore(t, &Options{Observer: &Observer{Ended: func(context.Context, *Task, bool) { panic(broken) }}})
	task := create(t, s, CreateParams{})
	assert.PanicsWithError(t, "broken", func() { _, _ = s.Complete(ctx, owner, task.ID, raw(`{}`)) })
	assert.Equal(t, Completed, get(t, s, task.ID).Status)
}

func TestTraceIsKeptWithTheTask(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Holder: "runner", Trace: Trace{Call: "call", Run: "one"}})
		assert.Equal(t, Trace{Call: "call", Run: "one"}, get(t, s, task.ID).Trace)
		next, err := s.RunOf(task).Update(ctx, func(t *Task) error { t.Trace.Run = "two"; return nil })
		require.NoError(t, err)
		assert.Equal(t, task.Revision, next.Revision, "clients do not see it")
		_, err = s.Complete(ctx, owner, task.ID, raw(`{}`))
		require.NoError(t, err)
		assert.Equal(t, Trace{Call: "call", Run: "two"}, get(t, s, task.ID).Trace)
	})
}

func TestTraceThatCannotBeStoredIsRefused(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{})
	for _, bad := range []Trace{{Call: strings.Repeat("x", 257)}, {Run: "\xff"}} {
		_, _, err := s.Create(ctx, owner, CreateParams{Trace: bad})
		require.ErrorIs(t, err, ErrInvalid)
		_, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.Trace = bad; return nil })
		require.ErrorIs(t, err, ErrInvalid)
	}
}

// BenchmarkObserver is the life of a task: created, renewed and completed. The variants
// take turns, so that a disturbance of the machine meets all of them; medians are compared.
func BenchmarkObserver(b *testing.B) {
	variants := []struct {
		name     string
		observer *Observer
	}{
		{"nil", nil},
		{"empty", &Observer{}},
		{"full", &Observer{
			Created:  func(context.Context, *Task) {},
			Acquired: func(context.Context, *Task, time.Duration, bool) {},
			Ended:    func(context.Context, *Task, bool) {},
			Refused:  func(context.Context, *LimitError) {},
		}},
		{"nil again", nil}, // the difference by chance alone
	}
	var stores []*Store
	for _, v := range variants {
		stores = append(stores, memoryStore(b, &Options{Observer: v.observer}))
	}
	took := make([][]time.Duration, len(variants))
	for n := 0; b.Loop(); n++ {
		for i := range stores {
			i = (i + n) % len(stores)
			s, begin := stores[i], time.Now()
			run := s.RunOf(create(b, s, CreateParams{Holder: "runner"}))
			_, renewed := run.Renew(ctx)
			_, completed := run.Complete(ctx, raw(`{"content":[]}`))
			took[i] = append(took[i], time.Since(begin))
			require.NoError(b, errors.Join(renewed, completed, s.Delete(ctx, owner, run.id)))
		}
	}
	for i, v := range variants {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds()), strings.ReplaceAll(v.name, " ", "-")+"-ns")
	}
}
