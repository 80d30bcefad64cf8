package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// jsonOf returns a JSON string of n bytes.
func jsonOf(n int) json.RawMessage { return raw(`"` + strings.Repeat("x", n-2) + `"`) }

// Each limit admits its value, refuses one more, and is named.
func TestLimits(t *testing.T) {
	opts := Options{
		MaxRequestBytes: 100, MaxResultBytes: 200, MaxStateBytes: 50,
		MaxInputRequests: 3, MaxInputKeyBytes: 10, MaxInputKeys: 4, MaxInputBytes: 60,
	}
	s := memoryStore(t, &opts)
	createErr := func(p CreateParams) error { _, _, err := s.Create(ctx, owner, p); return err }
	update := func(fn func(*Task)) error {
		_, err := s.Update(ctx, owner, create(t, s, CreateParams{}).ID, func(t *Task) error { fn(t); return nil })
		return err
	}
	require2 := func(first, second map[string]json.RawMessage) error {
		task := create(t, s, CreateParams{})
		_, err := s.RequireInput(ctx, owner, task.ID, first)
		if err == nil && second != nil {
			_, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.Status = Working; return nil })
			require.NoError(t, err)
			_, err = s.RequireInput(ctx, owner, task.ID, second)
		}
		return err
	}
	keys := func(keys ...string) map[string]json.RawMessage {
		m := map[string]json.RawMessage{}
		for _, k := range keys {
			m[k] = raw(`1`)
		}
		return m
	}
	answer := func(n int) error {
		task := create(t, s, CreateParams{})
		_, err := s.RequireInput(ctx, owner, task.ID, keys("a", "b"))
		require.NoError(t, err)
		_, err = s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"a": jsonOf(20)}, nil)
		require.NoError(t, err)
		_, err = s.ProvideInput(ctx, owner, task.ID, map[string]json.RawMessage{"b": jsonOf(n - 22)}, nil)
		return err
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		limit Limit
		most  int
		try   func(n int) error
	}{
		{LimitRequest, 100, func(n int) error { return createErr(CreateParams{Request: jsonOf(n)}) }},
		{LimitState, 50, func(n int) error { return update(func(t *Task) { t.State = make([]byte, n) }) }},
		{LimitResult, 200, func(n int) error { return update(func(t *Task) { t.Status, t.Result = Completed, jsonOf(n) }) }},
		{LimitResult, 200, func(n int) error {
			return update(func(t *Task) { t.Status, t.Error = Failed, &Error{Message: text(100), Data: jsonOf(n - 100)} })
		}},
		{LimitInputRequests, 3, func(n int) error { return require2(keys([]string{"a", "b", "c", "d"}[:n]...), nil) }},
		{LimitInputKey, 10, func(n int) error { return require2(keys(text(n)), nil) }},
		{LimitInputKeys, 4, func(n int) error { return require2(keys("a", "b"), keys([]string{"c", "d", "e"}[:n-2]...)) }},
		{LimitInput, 60, func(n int) error {
			return require2(map[string]json.RawMessage{"a": jsonOf(20), "bb": jsonOf(n - 23)}, nil)
		}},
		{LimitInput, 60, answer},
	} {
		assert.NoError(t, c.try(c.most), c.limit)
		err := c.try(c.most + 1)
		var limit *LimitError
		require.ErrorAs(t, err, &limit, c.limit)
		assert.ErrorIs(t, err, ErrLimit)
		assert.Equal(t, LimitError{Limit: c.limit, Max: c.most, Asked: c.most + 1}, *limit)
	}
}

func TestNegativeLimitsAreNoLimits(t *testing.T) {
	s := memoryStore(t, &Options{
		MaxRequestBytes: -1, MaxResultBytes: -1, MaxStateBytes: -1, MaxStatusMessageBytes: -1,
		MaxInputRequests: -1, MaxInputKeyBytes: -1, MaxInputKeys: -1, MaxInputBytes: -1,
	})
	task := create(t, s, CreateParams{Request: jsonOf(1 << 20), StatusMessage: strings.Repeat("x", 1<<20)})
	_, err := s.RequireInput(ctx, owner, task.ID, map[string]json.RawMessage{strings.Repeat("k", 1000): jsonOf(1 << 20)})
	require.NoError(t, err)
	_, err = s.Complete(ctx, owner, task.ID, jsonOf(8<<20))
	require.NoError(t, err)
	assert.Len(t, get(t, s, task.ID).Result, 8<<20)
}

// A limit that was lowered must not keep older tasks from ending.
func TestLoweredLimitsLetOldTasksEnd(t *testing.T) {
	b := taskstore.NewMemoryBackend(nil)
	old := newStore(t, b, nil)
	task := create(t, old, CreateParams{Request: jsonOf(1000), StatusMessage: strings.Repeat("x", 100)})
	_, err := old.Update(ctx, owner, task.ID, func(t *Task) error { t.State = make([]byte, 100); return nil })
	require.NoError(t, err)
	s := newStore(t, b, &Options{MaxRequestBytes: 1, MaxStateBytes: 1, MaxStatusMessageBytes: 1})
	_, err = s.Update(ctx, owner, task.ID, func(t *Task) error { t.PollInterval *= 2; return nil })
	require.NoError(t, err)
	_, err = s.Complete(ctx, owner, task.ID, raw(`1`))
	require.NoError(t, err)
}

func TestBackendLimitsComeThrough(t *testing.T) {
	s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 1000}), nil)
	task := create(t, s, CreateParams{})
	_, err := s.Complete(ctx, owner, task.ID, jsonOf(1000))
	assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	assert.Equal(t, task, get(t, s, task.ID))
}

// The result or error of a task takes the room of its request, which is run no more.
func TestTaskThatFillsItsRecordEnds(t *testing.T) {
	long := Error{Code: 1, Message: strings.Repeat("x", 300)}
	for name, end := range map[string]func(s *Store, run *Run) (Task, error){
		"Complete":     func(s *Store, run *Run) (Task, error) { return s.Complete(ctx, owner, run.id, jsonOf(300)) },
		"Fail":         func(s *Store, run *Run) (Task, error) { return s.Fail(ctx, owner, run.id, long) },
		"Run.Complete": func(_ *Store, run *Run) (Task, error) { return run.Complete(ctx, jsonOf(300)) },
		"Run.Fail":     func(_ *Store, run *Run) (Task, error) { return run.Fail(ctx, long) },
		"Run.Update": func(_ *Store, run *Run) (Task, error) {
			return run.Update(ctx, func(t *Task) error { t.Status, t.StatusMessage = Cancelled, long.Message; return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, task := fullRecord(t, 0)
			got, err := end(s, s.RunOf(task))
			require.NoError(t, err)
			assert.True(t, got.Status.Terminal())
			assert.Nil(t, got.Request)
			assert.Equal(t, task.Version+1, got.Version)
			assert.Equal(t, got, get(t, s, task.ID))
			assert.Zero(t, activeEntries(t, s))

			s, task = fullRecord(t, 400) // with enough room the request stays
			got, err = end(s, s.RunOf(task))
			require.NoError(t, err)
			assert.Equal(t, task.Request, got.Request)
		})
	}
}

// If the request makes too little room, the end is refused without effect, and a smaller
// end fits.
func TestTaskGoesOnIfItsEndDoesNotFit(t *testing.T) {
	s, task := fullRecord(t, 0)
	run := s.RunOf(task)
	_, err := run.Complete(ctx, jsonOf(1000))
	assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	_, err = run.Fail(ctx, Error{Message: strings.Repeat("x", 1000)})
	assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	_, err = run.SetStatusMessage(ctx, "no end, so the request stays") // which leaves no room
	assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
	assert.Equal(t, task, get(t, s, task.ID))
	got, err := run.Fail(ctx, Error{Message: "the result was too big"})
	require.NoError(t, err)
	assert.Equal(t, got, get(t, s, task.ID))
}

// A question that does not fit is refused at once, also on a detached task, whose lease
// it marks as a suspicion does.
func TestQuestionThatDoesNotFitIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxDataBytes: 1024}), nil)
		task, run := running(t, s)
		_, err := run.Detach(ctx, time.Hour, nil)
		require.NoError(t, err)
		big := map[string]json.RawMessage{"q": raw(`"` + strings.Repeat("x", 1024) + `"`)}
		begin := time.Now()
		_, err = s.RunOf(run.Task()).RequireInput(ctx, big)
		assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
		_, err = s.RequireInput(ctx, owner, task.ID, big)
		assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
		assert.Equal(t, begin, time.Now(), "with no further attempt")
		_, err = s.RequireInput(ctx, owner, task.ID, inputs("small"))
		assert.NoError(t, err)
	})
}

// Prints of errors and tasks redact all that may be personal.
func TestPrintsAreDiscreet(t *testing.T) {
	s := memoryStore(t, nil)
	const secret = "SECRET"
	task, _, err := s.Create(ctx, secret, CreateParams{Request: raw(`"SECRET"`), StatusMessage: secret, Holder: secret, IdempotencyKey: secret})
	require.NoError(t, err)
	_, mismatch := first(s.Create(ctx, secret, CreateParams{IdempotencyKey: secret}))
	_, held := s.Acquire(ctx, secret, task.ID, secret)
	_, invalid := s.Complete(ctx, secret, task.ID, raw(`SECRET`))
	asked, err := s.RequireInput(ctx, secret, task.ID, map[string]json.RawMessage{secret: raw(`"SECRET"`)})
	require.NoError(t, err)
	_, transition := s.RequireInput(ctx, secret, task.ID, inputs("x"))
	_, err = s.ProvideInput(ctx, secret, task.ID, map[string]json.RawMessage{secret: raw(`"SECRET"`)}, nil)
	require.NoError(t, err)
	_, reused := s.RequireInput(ctx, secret, task.ID, map[string]json.RawMessage{secret: raw(`1`)})
	_, err = s.Complete(ctx, secret, task.ID, raw(`"SECRET"`))
	require.NoError(t, err)
	_, terminal := s.Complete(ctx, secret, task.ID, raw(`"SECRET"`))
	_, lost := s.RunOf(task).Renew(ctx)
	_, absent := s.Get(ctx, secret+"2", task.ID)
	key, err := taskKey(secret, task.ID)
	require.NoError(t, err)
	_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(`{"format":1,"SECRET":"SECRET"}`)})
	require.NoError(t, err)
	_, damaged := s.Get(ctx, secret, task.ID)
	_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(`{"format":2,"SECRET":"SECRET"}`)})
	require.NoError(t, err)
	_, newer := s.Get(ctx, secret, task.ID)
	contention := error(&ContentionError{Err: &taskstore.VersionConflictError{Key: key}})
	for _, c := range []struct {
		err  error
		want error
	}{
		{mismatch, ErrIdempotencyMismatch}, {held, ErrLeaseHeld}, {invalid, ErrInvalid}, {transition, ErrTransition}, {reused, ErrInputKeyReused},
		{terminal, ErrTerminal}, {lost, ErrLeaseLost}, {absent, ErrNotFound}, {damaged, taskstore.ErrCorrupt}, {newer, ErrFormat}, {contention, ErrContention},
	} {
		require.ErrorIs(t, c.err, c.want)
		assert.True(t, strings.HasPrefix(c.err.Error(), "task"), c.err)
		for e := c.err; e != nil; e = errors.Unwrap(e) {
			j, _ := json.Marshal(e)
			for _, print := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), string(j)} {
				assert.NotContains(t, print, secret)
				assert.NotContains(t, print, task.ID)
			}
		}
	}
	run := s.RunOf(asked)
	for _, print := range []string{fmt.Sprint(run), fmt.Sprintf("%+v", run), fmt.Sprintf("%#v", run), run.LogValue().String()} {
		assert.Equal(t, "Run(input_required, revision 2)", print)
	}
	for _, print := range []string{fmt.Sprint(asked), fmt.Sprintf("%+v", asked), fmt.Sprintf("%#v", asked), asked.LogValue().String()} {
		assert.Equal(t, "Task(input_required, revision 2)", print)
	}
}

// A status message is for people: the store cuts it, and makes no decision by it.
func TestLongStatusMessagesAreCut(t *testing.T) {
	for message, want := range map[string]string{
		"exactly 10":        "exactly 10",
		"eleven long":       "eleven lon",
		"123456789é":        "123456789",
		"12345678é":         "12345678é",
		"12345678é!":        "12345678é",
		"1234567\U0001F600": "1234567",
		"123456\U0001F600!": "123456\U0001F600",
		"12345678\xff":      "12345678", // which is three bytes once it is valid
		"":                  "",
	} {
		s := memoryStore(t, &Options{MaxStatusMessageBytes: 10})
		task := create(t, s, CreateParams{StatusMessage: message, Holder: "x"})
		assert.Equal(t, want, task.StatusMessage)
		assert.Equal(t, task, get(t, s, task.ID))
		task, run := running(t, s)
		for _, set := range []func() (Task, error){
			func() (Task, error) { return run.SetStatusMessage(ctx, message) },
			func() (Task, error) {
				return s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = message; return nil })
			},
			func() (Task, error) {
				return run.Update(ctx, func(t *Task) error { t.StatusMessage = message; return nil })
			},
		} {
			for range 2 { // the second is the same again
				got, err := set()
				require.NoError(t, err)
				assert.Equal(t, want, got.StatusMessage)
				assert.Equal(t, got, get(t, s, task.ID))
				if want != "" {
					assert.Equal(t, task.Revision+1, got.Revision)
				}
			}
		}
	}
	long := strings.Repeat("x", 1025)
	assert.Len(t, create(t, memoryStore(t, nil), CreateParams{StatusMessage: long}).StatusMessage, 1024)
	assert.Len(t, create(t, memoryStore(t, &Options{MaxStatusMessageBytes: -1}), CreateParams{StatusMessage: long}).StatusMessage, 1025)
	assert.Empty(t, create(t, memoryStore(t, &Options{MaxStatusMessageBytes: 1}), CreateParams{StatusMessage: "é"}).StatusMessage)
}

func first(t Task, _ bool, err error) (Task, error) { return t, err }
