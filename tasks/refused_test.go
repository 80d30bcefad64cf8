package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

var everyCreate = []CreateParams{
	{}, {IdempotencyKey: "k"}, {Resumable: true}, {IdempotencyKey: "k", Resumable: true},
	{Request: jsonOf(maxBeside + 1)},
}

func TestRefusedCreateLeavesNothing(t *testing.T) {
	s := memoryStore(t, &Options{MaxTasks: 2})
	create(t, s, CreateParams{})
	for i := range 20 { // a task more fits, its key does not
		for _, p := range everyCreate[1:] {
			p.IdempotencyKey = fmt.Sprint(i)
			_, _, err := s.Create(ctx, owner, p)
			isLimit(t, err, LimitTasks, 2)
		}
	}
	assert.Len(t, dump(t, s, userPrefix+owner), 1)
	assert.Len(t, dump(t, s, activePrefix+owner), 1)
	assert.Zero(t, registryEntries(t, s))
	create(t, s, CreateParams{Resumable: true})
	refused(t, s, LimitTasks, 2)
}

// A flood of creates that are refused writes a few KiB each, whatever they ask for.
func TestRefusedCreateWritesNoBigRequest(t *testing.T) {
	s, other, b := hookedStore(t, &Options{MaxActive: 1})
	create(t, other, CreateParams{})
	var written atomic.Int64
	b.before = func(_ string, _ taskstore.Key, v taskstore.Value, _ taskstore.Version) error {
		written.Add(int64(len(v.Data)))
		return nil
	}
	for _, size := range []int{100, maxBeside, maxBeside + 1, 200_000} {
		for _, p := range everyCreate {
			p.Request = jsonOf(size)
			written.Store(0)
			_, _, err := s.Create(ctx, owner, p)
			isLimit(t, err, LimitActive, 1)
			assert.Less(t, written.Load(), int64(maxBeside+2000), "%d bytes asked for", size)
		}
	}
	assert.Len(t, tasksOf(t, other), 1)
	assert.Equal(t, 1, activeEntries(t, other))
}

func TestCreateWhoseContextEndsLeavesNothing(t *testing.T) {
	for _, p := range everyCreate {
		s, other, b := hookedStore(t, nil)
		done, cancel := context.WithCancel(ctx)
		b.onceBefore("write", taskPrefix, func() error {
			for activeEntries(t, other) == 0 { // what is written at the same time comes first
				time.Sleep(time.Millisecond)
			}
			cancel()
			return nil
		})
		_, _, err := s.Create(done, owner, p)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, dump(t, s, userPrefix+owner))
		assert.Empty(t, dump(t, s, activePrefix+owner))
		assert.Zero(t, registryEntries(t, s))
	}
}

// What another caller has claimed since is not for a refused one to remove.
func TestRefusedCreateLeavesWhatAnotherCallerWrote(t *testing.T) {
	s, other, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "k", Resumable: true}
	var theirs Task
	b.onceBefore("write", taskPrefix, func() error {
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

// A write whose answer got lost may come late: then what is beside it must stay.
func TestCreateOfUnknownOutcomeLeavesWhatTheTaskNeeds(t *testing.T) {
	for _, then := range []string{"write", "get"} { // the repetition, or the look at what became of it
		s, other, b := hookedStore(t, nil)
		n := 0
		b.before = func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
			if !strings.HasPrefix(k.Task, taskPrefix) {
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
		assert.Len(t, dump(t, other, userPrefix+owner), 1)
		assert.Len(t, dump(t, other, activePrefix+owner), 1)
		assert.Equal(t, 1, registryEntries(t, other))
	}
}

// What went wrong while a conflict was looked into is what the caller is told.
func TestCreateReportsWhatStoppedIt(t *testing.T) {
	s, _, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key"}
	create(t, s, p)
	boom := errors.New("connection refused")
	b.onceBefore("get", keyPrefix, func() error { return boom })
	_, _, err := s.Create(ctx, owner, p)
	assert.ErrorIs(t, err, boom)
	assert.NotErrorIs(t, err, taskstore.ErrVersionConflict)

	done, cancel := context.WithCancel(ctx)
	b.onceBefore("get", keyPrefix, func() error { cancel(); return nil })
	_, _, err = s.Create(done, owner, p)
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, taskstore.ErrVersionConflict)
}

func TestDeleteThatFailsHalfwayLeavesAWholeTask(t *testing.T) {
	s, _, b := hookedStore(t, nil)
	p := CreateParams{IdempotencyKey: "key", Resumable: true}
	task := create(t, s, p)
	b.onceBefore("delete", taskPrefix, func() error { return errors.New("refused") })
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
	assert.Empty(t, dump(t, s, activePrefix+owner))
	p.Request = raw(`"another"`)
	assert.NotEqual(t, task.ID, create(t, s, p).ID)
}
