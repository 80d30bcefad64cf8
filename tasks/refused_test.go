package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

var everyCreate = []CreateParams{
	{}, {IdempotencyKey: "k"}, {Resumable: true}, {IdempotencyKey: "k", Resumable: true},
	{Request: jsonOf(5000)},
}

func TestRefusedCreateLeavesNoTask(t *testing.T) {
	for limit, opts := range map[Limit]Options{LimitTasks: {MaxTasks: 2}, LimitActive: {MaxActive: 2}} {
		s := memoryStore(t, &opts)
		first := create(t, s, CreateParams{})
		create(t, s, CreateParams{IdempotencyKey: "first"})
		before := everything(t, s)
		for i := range 20 {
			for _, p := range everyCreate {
				if p.IdempotencyKey != "" {
					p.IdempotencyKey = fmt.Sprint(i)
				}
				_, _, err := s.Create(ctx, owner, p)
				isLimit(t, err, limit, 2)
			}
		}
		assert.Equal(t, before, everything(t, s))
		assert.Zero(t, registryEntries(t, s))
		require.NoError(t, s.Delete(ctx, owner, first.ID))
		create(t, s, CreateParams{Resumable: true})
		refused(t, s, limit, 2)
	}
}

// A flood of creates that are refused writes little, for requests of any size.
func TestRefusedCreateWritesNoBigRequest(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	create(t, other, CreateParams{})
	var written atomic.Int64
	b.written = func(v taskstore.Value) { written.Add(int64(len(v.Data))) }
	for _, size := range []int{100, 5000, 200_000} {
		for _, p := range everyCreate {
			p.Request = jsonOf(size)
			written.Store(0)
			_, _, err := s.Create(ctx, owner, p)
			isLimit(t, err, LimitActive, 1)
			assert.Less(t, written.Load(), int64(2000), "%d bytes asked for", size)
		}
	}
	assert.Len(t, everything(t, other), 2)
}

func TestCreateLeavesNoTaskIfItsContextEnds(t *testing.T) {
	for _, p := range everyCreate {
		s, _, b := hookedStore(t, nil)
		done, cancel := context.WithCancel(ctx)
		b.onceBefore("write", isTask, func() error { cancel(); return nil })
		_, _, err := s.Create(done, owner, p)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, everything(t, s))
		assert.Zero(t, registryEntries(t, s))
	}
}

// A refused Create leaves in place the records that another caller has claimed since.
func TestRefusedCreateKeepsTheWritesOfOthers(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "k", Resumable: true}
	var theirs Task
	b.onceBefore("write", isTask, func() error {
		theirs = create(t, other, p)
		return errors.New("refused")
	})
	_, _, err := s.Create(ctx, owner, p)
	require.Error(t, err)
	assert.Equal(t, theirs, get(t, s, theirs.ID))
	assert.Equal(t, []string{theirs.ID}, orphans(t, s))
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, theirs, again)
}

// A write with a lost answer may be applied late, so its entry stays in the registry.
func TestCreateOfUnknownOutcomeStaysInTheRegistry(t *testing.T) {
	for _, then := range []string{"write", "get"} { // the retry, or the read that looks for its effect
		s, other, b := hookedStore(t, nil)
		n := 0
		b.before = func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
			if isEntry(k) {
				return nil
			}
			if n++; n == 1 {
				return taskstore.ErrOutcomeUnknown
			}
			if op == then {
				return errors.New("refused")
			}
			return nil
		}
		_, _, err := s.Create(ctx, owner, CreateParams{IdempotencyKey: "k", Resumable: true})
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
		assert.Equal(t, 1, registryEntries(t, other))
	}
}

// The caller gets the error of the read that looks into a conflict, not the conflict.
func TestCreateReportsItsFailure(t *testing.T) {
	s, _, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key"}
	create(t, s, p)
	boom := errors.New("connection refused")
	b.onceBefore("get", isKey, func() error { return boom })
	_, _, err := s.Create(ctx, owner, p)
	assert.ErrorIs(t, err, boom)
	assert.NotErrorIs(t, err, taskstore.ErrVersionConflict)

	done, cancel := context.WithCancel(ctx)
	b.onceBefore("get", isKey, func() error { cancel(); return nil })
	_, _, err = s.Create(done, owner, p)
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, taskstore.ErrVersionConflict)
}

func TestDeleteThatFailsHalfwayLeavesAWholeTask(t *testing.T) {
	s, _, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key", Resumable: true}
	task := create(t, s, p)
	b.onceBefore("write", isTask, func() error { return errors.New("refused") })
	require.Error(t, s.Delete(ctx, owner, task.ID))
	again, created, err := s.Create(ctx, owner, p)
	require.NoError(t, err)
	assert.False(t, created, "a second task for the key of the first")
	assert.Equal(t, task, again)
	assert.Equal(t, []string{task.ID}, orphans(t, s))
}

func TestDeleteOfADamagedTaskFreesItsKey(t *testing.T) {
	s := memoryStore(t, nil)
	p := CreateParams{IdempotencyKey: "key", Resumable: true}
	task := create(t, s, p)
	key, err := taskKey(owner, task.ID)
	require.NoError(t, err)
	_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte(`{"format":2}`)})
	require.NoError(t, err)
	require.NoError(t, s.Delete(ctx, owner, task.ID))
	assert.Zero(t, registryEntries(t, s))
	assert.Zero(t, activeEntries(t, s))
	p.Request = raw(`"another"`)
	assert.NotEqual(t, task.ID, create(t, s, p).ID)
}
