package tasks

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// everyMethod calls each method of Store that names a task.
func everyMethod(s *Store, owner, id string) map[string]func() error {
	task := func(_ Task, err error) error { return err }
	return map[string]func() error{
		"Get": func() error { return task(s.Get(ctx, owner, id)) },
		"Update": func() error {
			return task(s.Update(ctx, owner, id, func(t *Task) error { t.StatusMessage = "x"; return nil }))
		},
		"Complete":     func() error { return task(s.Complete(ctx, owner, id, raw(`1`))) },
		"Fail":         func() error { return task(s.Fail(ctx, owner, id, Error{Message: "m"})) },
		"Cancel":       func() error { return task(s.Cancel(ctx, owner, id)) },
		"RequireInput": func() error { return task(s.RequireInput(ctx, owner, id, inputs("k"))) },
		"ProvideInput": func() error { return task(s.ProvideInput(ctx, owner, id, inputs("k"), nil)) },
		"Wait":         func() error { return task(s.Wait(ctx, owner, id, 0)) },
		"Acquire":      func() error { _, err := s.Acquire(ctx, owner, id, "x"); return err },
		"RunOf": func() error {
			return task(s.RunOf(Task{ID: id, Owner: owner, Lease: Lease{Holder: "x", Token: 1}}).Renew(ctx))
		},
		"Changes": func() error {
			for _, err := range s.Changes(ctx, owner, id) {
				return err
			}
			return nil
		},
		"Delete": func() error { return s.Delete(ctx, owner, id) },
	}
}

func TestCreateAndGet(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		before, err := s.now(ctx)
		require.NoError(t, err)
		task := create(t, s, CreateParams{Request: raw(`{"a":1}`), StatusMessage: "soon"})
		assert.WithinDuration(t, before, task.CreatedAt, time.Second)
		assert.Equal(t, Task{
			ID: task.ID, Owner: owner, Status: Working, StatusMessage: "soon", CreatedAt: task.CreatedAt, UpdatedAt: task.CreatedAt,
			TTL: time.Hour, ExpiresAt: task.CreatedAt.Add(time.Hour), PollInterval: time.Second, Request: raw(`{"a":1}`), Revision: 1, Version: 1,
		}, task)
		assert.Equal(t, task, get(t, s, task.ID))
		rec, err := s.backend.Get(ctx, taskstore.Key{Owner: "u:owner", Task: task.ID})
		require.NoError(t, err)
		assert.Equal(t, task.CreatedAt.Add(time.Hour), rec.ExpiresAt)
		assert.NotContains(t, string(rec.Data), task.ID)

		require.NoError(t, s.Delete(ctx, owner, task.ID))
		assert.ErrorIs(t, s.Delete(ctx, owner, task.ID), ErrNotFound)
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, ErrNotFound)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	})
}

func TestTTLs(t *testing.T) {
	for _, c := range []struct {
		opts Options
		ask  time.Duration
		want time.Duration
	}{
		{Options{}, 0, time.Hour},
		{Options{}, time.Minute, time.Minute},
		{Options{}, 25 * time.Hour, 24 * time.Hour},
		{Options{}, -1, 24 * time.Hour},
		{Options{}, time.Microsecond, time.Millisecond},
		{Options{}, 1500 * time.Microsecond, time.Millisecond},
		{Options{MaxTTL: time.Minute}, 0, time.Minute},
		{Options{DefaultTTL: -1}, 0, 24 * time.Hour},
		{Options{MaxTTL: -1}, 0, time.Hour},
		{Options{MaxTTL: -1}, 1000 * time.Hour, 1000 * time.Hour},
		{Options{MaxTTL: -1}, -1, 0},
		{Options{MaxTTL: -1, DefaultTTL: -1}, 0, 0},
	} {
		task := create(t, memoryStore(t, &c.opts), CreateParams{TTL: c.ask})
		assert.Equal(t, c.want, task.TTL, "%+v", c)
	}
	s := memoryStore(t, nil)
	_, _, err := s.Create(ctx, owner, CreateParams{PollInterval: -1})
	assert.ErrorIs(t, err, ErrInvalid)
	assert.Equal(t, time.Millisecond, create(t, s, CreateParams{PollInterval: 1}).PollInterval)
}

func TestExpiryAndRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memoryStore(t, &Options{Retention: 10 * time.Minute, MaxTTL: -1})
		active := create(t, s, CreateParams{TTL: time.Hour})
		ended := create(t, s, CreateParams{TTL: -1})
		time.Sleep(30 * time.Minute)
		got, err := s.Complete(ctx, owner, ended.ID, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, 40*time.Minute, got.TTL)
		time.Sleep(10 * time.Minute)
		get(t, s, ended.ID)
		time.Sleep(time.Millisecond)
		_, err = s.Get(ctx, owner, ended.ID)
		assert.ErrorIs(t, err, ErrNotFound)
		time.Sleep(20*time.Minute - time.Millisecond)
		get(t, s, active.ID)
		time.Sleep(time.Millisecond)
		_, err = s.Cancel(ctx, owner, active.ID)
		assert.ErrorIs(t, err, ErrNotFound)

		longer := create(t, s, CreateParams{TTL: time.Minute})
		got, err = s.Update(ctx, owner, longer.ID, func(t *Task) error { t.TTL = 0; return nil })
		require.NoError(t, err)
		assert.Zero(t, got.TTL)
		_, err = s.Update(ctx, owner, longer.ID, func(t *Task) error { t.TTL = -1; return nil })
		assert.ErrorIs(t, err, ErrInvalid)
		time.Sleep(1000 * time.Hour)
		get(t, s, longer.ID)
	})
}

// A clocked backend has a clock of its own.
type clocked struct {
	plain
	ahead *time.Duration
}

func (c clocked) Now(context.Context) (time.Time, error) { return time.Now().Add(*c.ahead), nil }

func TestTimesAreTheBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := 10 * time.Hour
		s := newStore(t, clocked{plain{taskstore.NewMemoryBackend(nil)}, &ahead}, nil)
		task, run := running(t, s)
		assert.Equal(t, time.Now().Add(ahead).UTC(), task.CreatedAt)
		assert.Equal(t, task.CreatedAt.Add(30*time.Second), task.Lease.ExpiresAt)
		ahead -= time.Minute // it is set back
		got, err := run.Complete(ctx, raw(`1`))
		require.NoError(t, err)
		assert.Equal(t, task.CreatedAt, got.UpdatedAt)
		assert.Equal(t, time.Hour, got.TTL)
	})
}

func TestListPages(t *testing.T) {
	check := func(t *testing.T, s *Store) {
		var want []string
		for range 7 {
			want = append(want, create(t, s, CreateParams{IdempotencyKey: "k" + time.Now().String()}).ID)
			time.Sleep(2 * time.Millisecond)
		}
		_, _, err := s.Create(ctx, "other", CreateParams{})
		require.NoError(t, err)
		var got []string
		for cursor := ""; ; {
			page, next, err := s.List(ctx, owner, cursor, 3)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(page), 3)
			for _, task := range page {
				got = append(got, task.ID)
				assert.Equal(t, owner, task.Owner)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		assert.Equal(t, want, got)
		page, next, err := s.List(ctx, "nobody", "", 1)
		require.NoError(t, err)
		assert.Empty(t, page)
		assert.Empty(t, next)
		_, _, err = s.List(ctx, owner, "", 0)
		assert.ErrorIs(t, err, ErrInvalid)
		_, _, err = s.List(ctx, owner, "rubbish", 1)
		assert.ErrorIs(t, err, taskstore.ErrInvalidCursor)
	}
	onEach(t, check)
	t.Run("NoPager", func(t *testing.T) { check(t, newStore(t, plain{taskstore.NewMemoryBackend(nil)}, nil)) })
}

// Tasks and payloads are copies: a caller may change them without effect on the store.
func TestTasksAreCopies(t *testing.T) {
	s := memoryStore(t, nil)
	request := raw(`{"a":1}`)
	task := create(t, s, CreateParams{Request: request})
	copy(request, "XXXXXXX")
	copy(task.Request, "YYYYYYY")
	assert.Equal(t, raw(`{"a":1}`), get(t, s, task.ID).Request)
	var kept *Task
	result := raw(`[1]`)
	got, err := s.Update(ctx, owner, task.ID, func(t *Task) error {
		kept = t
		t.Status, t.Result = Completed, result
		return nil
	})
	require.NoError(t, err)
	kept.StatusMessage = "later"
	copy(result, "XXX")
	assert.Equal(t, raw(`[1]`), got.Result)
	assert.Equal(t, got, get(t, s, task.ID))

	theirs := &Error{Message: "\xff"}
	got, err = s.Update(ctx, owner, create(t, s, CreateParams{}).ID, func(t *Task) error { t.Status, t.Error = Failed, theirs; return nil })
	require.NoError(t, err)
	assert.Equal(t, "\uFFFD", got.Error.Message)
	assert.Equal(t, "\xff", theirs.Message)
}

// The calls of the backend that each method makes.
func TestRoundTrips(t *testing.T) {
	c := &counting{StorageBackend: taskstore.NewMemoryBackend(nil)}
	s := newStore(t, c, nil)
	count := func(want int64, what string, f func()) {
		t.Helper()
		c.calls.Store(0)
		f()
		assert.Equal(t, want, c.calls.Load(), what)
	}
	var task Task
	count(1, "Create", func() { task = create(t, s, CreateParams{Holder: "x"}) })
	count(1, "Get", func() { get(t, s, task.ID) })
	run := s.RunOf(task)
	time.Sleep(2 * time.Millisecond) // a renewal within one is left out
	count(1, "Renew", func() { _, _ = run.Renew(ctx) })
	count(1, "SetStatusMessage", func() { _, _ = run.SetStatusMessage(ctx, "m") })
	count(1, "Update without a change", func() { _, _ = run.Update(ctx, func(*Task) error { return nil }) })
	count(2, "Cancel", func() { _, _ = s.Cancel(ctx, owner, task.ID) })
	count(1, "Cancel again", func() { _, _ = s.Cancel(ctx, owner, task.ID) })
	count(3, "Complete, after a write of another caller", func() { _, _ = run.Complete(ctx, raw(`1`)) })
	count(1, "Get", func() { get(t, s, task.ID) })
	count(2, "Delete", func() { _ = s.Delete(ctx, owner, task.ID) })
	count(0, "Get of no id", func() { _, _ = s.Get(ctx, owner, "x") })
	run = s.RunOf(create(t, s, CreateParams{Holder: "x"}))
	count(1, "Complete", func() { _, _ = run.Complete(ctx, raw(`1`)) })
	count(2, "Create, resumable", func() { create(t, s, CreateParams{Resumable: true}) })
	count(1, "Create, idempotent", func() { task = create(t, s, CreateParams{IdempotencyKey: "k", TTL: time.Minute}) })
	count(3, "Create again", func() { _, _, _ = s.Create(ctx, owner, CreateParams{IdempotencyKey: "k"}) })
	count(2, "Update of the TTL, idempotent", func() { _, _ = s.Update(ctx, owner, task.ID, atLeast(time.Hour)) })
	count(2, "Delete before the end, idempotent", func() { _ = s.Delete(ctx, owner, task.ID) })
	task = create(t, s, CreateParams{IdempotencyKey: "k", Resumable: true})
	count(3, "Complete, idempotent and resumable", func() { _, _ = s.Complete(ctx, owner, task.ID, raw(`1`)) })
}

func TestDoneContext(t *testing.T) {
	s := memoryStore(t, nil)
	task, run := running(t, s)
	done, cancel := context.WithCancel(ctx)
	cancel()
	old := ctx
	ctx = done
	defer func() { ctx = old }()
	for name, try := range everyMethod(s, owner, task.ID) {
		assert.ErrorIs(t, try(), context.Canceled, name)
	}
	for name, try := range runWrites(run) {
		_, err := try()
		assert.ErrorIs(t, err, context.Canceled, name)
	}
	_, _, err := s.Create(ctx, owner, CreateParams{})
	assert.ErrorIs(t, err, context.Canceled)
	_, _, err = s.List(ctx, owner, "", 1)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestNewChecksItsArguments(t *testing.T) {
	for _, none := range []taskstore.StorageBackend{nil, (*taskstore.RedisBackend)(nil), (*taskstore.MemoryBackend)(nil)} {
		_, err := New(none, nil)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.EqualError(t, err, "tasks: invalid backend: it is nil")
	}
	for _, o := range []Options{{Lease: -1}, {Lease: 1}, {PollInterval: -1}, {Retention: -1}, {MaxTTL: 1},
		{Retention: math.MaxInt64}, {MaxTTL: 101 * 365 * 24 * time.Hour}, {DefaultTTL: math.MaxInt64}, {Lease: math.MaxInt64}, {PollInterval: math.MaxInt64},
	} {
		_, err := New(taskstore.NewMemoryBackend(nil), &o)
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.True(t, strings.HasPrefix(invalid.Argument, "Options."))
		assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
	}
	assert.Equal(t, Options{
		DefaultTTL: time.Hour, MaxTTL: 24 * time.Hour, Retention: time.Hour, PollInterval: time.Second, Lease: 30 * time.Second,
		MaxTasks: 1000, MaxActive: 100, MaxRequestBytes: 256 << 10, MaxResultBytes: 4 << 20, MaxStateBytes: 256 << 10, MaxStatusMessageBytes: 1 << 10,
		MaxInputRequests: 32, MaxInputKeyBytes: 128, MaxInputKeys: 1024, MaxInputBytes: 256 << 10,
	}, memoryStore(t, nil).Options())
}

// However a caller comes to a state of a task, the Tasks are equal, also by
// reflect.DeepEqual.
func TestTaskIsTheSameToAllReaders(t *testing.T) {
	for name, p := range map[string]CreateParams{
		"plain": {}, "keyed": {IdempotencyKey: "key"}, "leased": {Holder: "x", IdempotencyKey: "key", Request: raw(`1`)},
	} {
		t.Run(name, func(t *testing.T) {
			var created, ended Task
			s := memoryStore(t, &Options{Observer: &Observer{
				Created: func(_ context.Context, t *Task) { created = t.clone() },
				Ended:   func(_ context.Context, t *Task, _ bool) { ended = t.clone() },
			}})
			check := func(want Task) {
				t.Helper()
				assert.Equal(t, want, get(t, s, want.ID), "Get")
				page, _, err := s.List(ctx, owner, "", 10)
				require.NoError(t, err)
				assert.Equal(t, []Task{want}, page, "List")
				stored, err := NewInspector(s.backend).Get(ctx, owner, want.ID)
				require.NoError(t, err)
				assert.Equal(t, want, stored.Task, "Inspector")
				for got, err := range s.Changes(ctx, owner, want.ID) {
					require.NoError(t, err)
					assert.Equal(t, want, got, "Changes")
					break
				}
				if p.IdempotencyKey != "" {
					again, _, err := s.Create(ctx, owner, p)
					require.NoError(t, err)
					assert.Equal(t, want, again, "Create again")
				}
			}
			task := create(t, s, p)
			assert.Equal(t, task, created, "Observer")
			check(task)
			assert.Equal(t, task, s.RunOf(task).Task(), "Run")
			task, err := s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = "m"; return nil })
			require.NoError(t, err)
			check(task)
			task, err = s.Complete(ctx, owner, task.ID, raw(`1`))
			require.NoError(t, err)
			check(task)
			assert.Equal(t, task, ended, "Observer")
		})
	}
}
