package tasks

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// readOnly fails the test at every write.
type readOnly struct {
	*taskstore.MemoryBackend
	t *testing.T
}

func (b readOnly) wrote() error {
	b.t.Error("an Inspector wrote")
	return errors.ErrUnsupported
}

func (b readOnly) Put(context.Context, taskstore.Key, taskstore.Value) (taskstore.Version, error) {
	return 0, b.wrote()
}

func (b readOnly) PutIfVersion(context.Context, taskstore.Key, taskstore.Value, taskstore.Version) (taskstore.Version, error) {
	return 0, b.wrote()
}

func (b readOnly) Delete(context.Context, taskstore.Key) (bool, error) { return false, b.wrote() }

// A Store would fail both tasks, one for its lease and one for MaxTTL.
func TestAnInspectorSettlesNoTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := taskstore.NewMemoryBackend(nil)
		s := newStore(t, m, &Options{Lease: time.Second, MaxTTL: 48 * time.Hour})
		lost, _, err := s.Create(ctx, "alice", CreateParams{Holder: "runner", TTL: 40 * time.Hour})
		require.NoError(t, err)
		time.Sleep(30 * time.Hour)
		i := NewInspector(readOnly{m, t})
		got, err := i.Get(ctx, "alice", lost.ID)
		require.NoError(t, err)
		assert.Equal(t, lost, got.Task)
		assert.Positive(t, got.Bytes)
		for got, err := range i.All(ctx, "alice") {
			require.NoError(t, err)
			assert.Equal(t, lost, got.Task)
		}
		for owner, err := range i.Owners(ctx) {
			require.NoError(t, err)
			assert.Equal(t, "alice", owner)
		}
		settled := getOf(t, s, "alice", lost.ID)
		assert.NotEqual(t, lost.Version, settled.Version, "a Store does")
	})
}

func getOf(t *testing.T, s *Store, owner, id string) Task {
	t.Helper()
	task, err := s.Get(ctx, owner, id)
	require.NoError(t, err)
	return task
}

// An Inspector yields the owners of tasks, and skips other records on the backend.
func TestAnInspectorYieldsOwnersOfTasks(t *testing.T) {
	m := taskstore.NewMemoryBackend(nil)
	s := newStore(t, m, nil)
	for _, owner := range []string{"alice", "a:x", "u:", "\xff"} {
		for range 2 {
			_, _, err := s.Create(ctx, owner, CreateParams{Resumable: true, IdempotencyKey: uuid.NewString()})
			require.NoError(t, err)
		}
	}
	_, err := m.Put(ctx, taskstore.Key{Owner: "elsewhere", Task: "t"}, taskstore.Value{})
	require.NoError(t, err)
	seen := make(map[string]bool)
	for owner, err := range NewInspector(m).Owners(ctx) {
		require.NoError(t, err)
		require.False(t, seen[owner], "twice")
		seen[owner] = true
	}
	assert.ElementsMatch(t, []string{"alice", "a:x", "u:", "\xff"}, slices.Collect(maps.Keys(seen)))
	for _, err := range NewInspector(struct{ taskstore.StorageBackend }{m}).Owners(ctx) {
		assert.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// An Inspector names the tasks that it cannot read, and yields the rest.
func TestAnInspectorSkipsUnreadableTasks(t *testing.T) {
	m := taskstore.NewMemoryBackend(nil)
	s := newStore(t, m, nil)
	var ids []string
	for range 4 {
		ids = append(ids, create(t, s, CreateParams{}).ID)
	}
	good, err := m.Get(ctx, recordKey(t, ids[0]))
	require.NoError(t, err)
	for i, data := range []string{"", `{"format":2}`, "rubbish", ""} {
		if data != "" {
			_, err := m.Put(ctx, recordKey(t, ids[i]), taskstore.Value{Data: []byte(data)})
			require.NoError(t, err)
		}
	}
	_, err = m.Put(ctx, taskstore.Key{Owner: good.Key.Owner, Task: strings.Replace(good.Key.Task, ids[0], "t/old", 1)}, good.Value)
	require.NoError(t, err)
	errs := make(map[string]error)
	for task, err := range NewInspector(m).All(ctx, owner) {
		errs[task.ID] = err
		assert.Equal(t, owner, task.Owner)
		assert.Positive(t, task.Bytes)
	}
	assert.Len(t, errs, 5)
	assert.NoError(t, errs[ids[0]])
	assert.ErrorIs(t, errs[ids[1]], ErrFormat)
	assert.ErrorIs(t, errs[ids[2]], taskstore.ErrCorrupt)
	assert.NoError(t, errs[ids[3]])
	assert.ErrorIs(t, errs["t/old"], ErrNoTask)
}

func recordKey(t *testing.T, id string) taskstore.Key {
	t.Helper()
	key, err := taskKey(owner, id)
	require.NoError(t, err)
	return key
}

// Entries that count no task are found: its record has gone by another way than Delete's.
func TestAnInspectorFindsEntriesWithoutTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := taskstore.NewMemoryBackend(nil)
		s := newStore(t, m, &Options{DefaultTTL: 10 * time.Hour})
		kept := create(t, s, CreateParams{Resumable: true})
		lost := create(t, s, CreateParams{Resumable: true})
		i := NewInspector(readOnly{m, t})
		strays := func() (active, registry int) {
			active, err := i.Strays(ctx, owner)
			require.NoError(t, err)
			registry, err = i.RegistryStrays(ctx)
			require.NoError(t, err)
			return active, registry
		}
		active, registry := strays()
		assert.Zero(t, active)
		assert.Zero(t, registry)
		_, err := m.Delete(ctx, recordKey(t, lost.ID))
		require.NoError(t, err)
		active, registry = strays()
		assert.Equal(t, 1, active)
		assert.Zero(t, registry, "the task may be about to be created")
		time.Sleep(entryGrace + time.Second)
		active, registry = strays()
		assert.Equal(t, 1, active)
		assert.Equal(t, 1, registry)
		_, err = s.Complete(ctx, owner, kept.ID, raw(`{}`))
		require.NoError(t, err)
		active, registry = strays()
		assert.Equal(t, 1, active)
		assert.Equal(t, 1, registry)
	})
}
