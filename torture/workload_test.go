package torture

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

var classes = []Class{HotKeys, HotKeysWithPut, TaskIDs, OwnKeys, Batches}

const clients = 8

func run(class Class, b taskstore.StorageBackend, seed uint64) *History {
	l := Load{Class: class, Owner: "owner", Seed: seed, Calls: 50, Ahead: true}
	for range clients {
		l.Backends = append(l.Backends, b)
	}
	return l.Run(ctx)
}

func TestMemoryIsLinearizable(t *testing.T) {
	for _, class := range classes {
		for seed := range uint64(20) {
			h := run(class, taskstore.NewMemoryBackend(nil), seed)
			require.NoError(t, h.Check(t.TempDir()), "%s, seed %d", class.Name, seed)
			assert.GreaterOrEqual(t, h.Tally().Calls, clients*50)
			assert.Zero(t, h.Tally().Unknown)
			assert.Empty(t, h.Failures())
		}
	}
}

// torn is a backend with a compare-and-swap in two steps.
type torn struct{ taskstore.StorageBackend }

func (b torn) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	rec, err := b.Get(ctx, key)
	if err == nil && rec.Version == expected || err != nil && expected == 0 {
		runtime.Gosched()
		return b.Put(ctx, key, v)
	}
	return 0, &taskstore.VersionConflictError{Key: key, Expected: expected, Actual: rec.Version}
}

// stale is a backend that reads from a copy that lags behind.
type stale struct {
	taskstore.StorageBackend
	old chan taskstore.Record
}

func (b stale) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	rec, err := b.StorageBackend.Get(ctx, key)
	if err != nil {
		return rec, err
	}
	select {
	case old := <-b.old:
		if old.Key == key {
			return old, nil
		}
	default:
	}
	select {
	case b.old <- rec:
	default:
	}
	return rec, nil
}

// forgetful is a backend with a Delete that has no effect.
type forgetful struct{ taskstore.StorageBackend }

func (forgetful) Delete(context.Context, taskstore.Key) (bool, error) { return true, nil }

func TestBackendsThatAreNotLinearizableAreFound(t *testing.T) {
	for _, c := range []struct {
		class   Class
		backend func() taskstore.StorageBackend
	}{
		{HotKeys, func() taskstore.StorageBackend { return torn{taskstore.NewMemoryBackend(nil)} }},
		{HotKeysWithPut, func() taskstore.StorageBackend {
			return stale{taskstore.NewMemoryBackend(nil), make(chan taskstore.Record, 1)}
		}},
		{TaskIDs, func() taskstore.StorageBackend { return forgetful{taskstore.NewMemoryBackend(nil)} }},
		{Batches, func() taskstore.StorageBackend { return apart{taskstore.NewMemoryBackend(nil)} }},
		{Batches, func() taskstore.StorageBackend { return &exposed{StorageBackend: taskstore.NewMemoryBackend(nil)} }},
	} {
		t.Run(fmt.Sprintf("%T", c.backend()), func(t *testing.T) {
			for seed := range uint64(1000) {
				if run(c.class, c.backend(), seed).Check(t.TempDir()) != nil {
					return
				}
			}
			t.Error("not found in 1000 histories")
		})
	}
}

// Clients make the same calls again if they get the same answers.
func TestOneSeedMakesTheSameCalls(t *testing.T) {
	for _, class := range classes {
		calls := func(seed uint64) (calls []string) {
			l := Load{Class: class, Backends: []taskstore.StorageBackend{taskstore.NewMemoryBackend(nil)}, Owner: "o", Seed: seed, Calls: 100}
			for _, op := range l.Run(ctx).ops {
				calls = append(calls, describe(op.Input.(Call), op.Output.(Result)))
			}
			return calls
		}
		assert.Equal(t, calls(1), calls(1))
		assert.NotEqual(t, calls(1), calls(2))
	}
}
