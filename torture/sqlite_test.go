//go:build integration

package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/taskstore/taskstore"
)

// Four processes have one SQLite file open, with two callers each, and are killed by
// SIGKILL again and again. The histories of their callers are linearizable, in every class
// of load.
func TestSQLiteProcessesAreKilled(t *testing.T) {
	for _, class := range []Class{HotKeys, HotKeysWithPut, TaskIDs, OwnKeys, Batches} {
		t.Run(class.Name, func(t *testing.T) {
			broken := brokenOnSQLite(t, class, "", either(*historiesFlag, 4, 200))
			assert.Zero(t, broken, "broken histories")
		})
	}
}

// The controls: each takes away a part of the store's work, and the same load has to break.
var breaches = map[string]func(taskstore.StorageBackend) taskstore.StorageBackend{
	"looks before it writes": func(b taskstore.StorageBackend) taskstore.StorageBackend { return looking{b} },
	"answers too early":      func(b taskstore.StorageBackend) taskstore.StorageBackend { return hasty{b} },
	"writes one by one":      func(b taskstore.StorageBackend) taskstore.StorageBackend { return apart{b} },
}

func TestSQLiteControlsBreak(t *testing.T) {
	for name, class := range map[string]Class{
		"looks before it writes": HotKeys, "answers too early": HotKeys, "writes one by one": Batches,
	} {
		t.Run(name, func(t *testing.T) {
			assert.NotZero(t, brokenOnSQLite(t, class, name, either(*historiesFlag, 4, 50)))
		})
	}
}

// A looking backend compares and then writes, in two steps.
type looking struct{ taskstore.StorageBackend }

func (l looking) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	r, err := l.Get(ctx, key)
	if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
		return 0, err
	}
	if r.Version != expected {
		return 0, &taskstore.VersionConflictError{Key: key, Expected: expected, Actual: r.Version}
	}
	return l.Put(ctx, key, v)
}

// A hasty backend acknowledges an update before it is in the file.
type hasty struct{ taskstore.StorageBackend }

func (h hasty) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	if expected == 0 {
		return h.StorageBackend.PutIfVersion(ctx, key, v, expected)
	}
	r, err := h.Get(ctx, key)
	if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
		return 0, err
	}
	if r.Version != expected {
		return 0, &taskstore.VersionConflictError{Key: key, Expected: expected, Actual: r.Version}
	}
	go h.StorageBackend.PutIfVersion(ctx, key, v, expected)
	return expected + 1, nil
}

// brokenOnSQLite records histories of processes that are killed, and returns how many are
// broken.
func brokenOnSQLite(t *testing.T, class Class, breach string, histories int) (broken int) {
	const processes, callers, calls, kills = 4, 2, 40, 3
	path := filepath.Join(t.TempDir(), "tasks.db")
	var remotes []*remote
	var backends []taskstore.StorageBackend
	for range processes {
		r := newRemote(t, path, breach)
		remotes = append(remotes, r)
		for range callers {
			backends = append(backends, r)
		}
	}
	pictures := os.TempDir()
	if breach != "" {
		pictures = ""
	}
	var tally Tally
	first := firstSeed()
	for seed := first; seed < first+uint64(histories); seed++ {
		random := rand.New(rand.NewPCG(seed, 0))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			defer close(stop)
			for range kills {
				time.Sleep(time.Duration(random.Int64N(int64(30 * time.Millisecond)))) // so that it comes at any moment
				remotes[random.IntN(processes)].kill()
			}
		}()
		h := Load{
			Class: class, Backends: backends, Owner: fmt.Sprint("owner-", seed), Seed: seed,
			Calls: calls, Until: stop, Pause: 3 * time.Millisecond, Ahead: true,
			Settle: func() { <-stopped },
		}.Run(ctx)
		err := h.Check(pictures)
		for _, failure := range h.Failures() {
			if err == nil && !errors.Is(failure, errKilled) {
				err = failure
			}
		}
		if err != nil {
			broken++
			if breach == "" {
				t.Errorf("seed %d: %v\nonce more: %s", seed, err, again(t, seed))
			}
		}
		tally.Add(h.Tally())
	}
	t.Logf("%d of %d histories broken, from seed %d; %d kills, %d calls, %d conflicts, %d unknown, %d reads without an answer",
		broken, histories, first, kills*histories, tally.Calls, tally.Conflicts, tally.Unknown, tally.Failed)
	return broken
}
