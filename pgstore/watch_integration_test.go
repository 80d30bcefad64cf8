//go:build integration

package pgstore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// watch returns the changes of a watch that ends with the test.
func watch(t testing.TB, b *Backend, prefix taskstore.Key) <-chan taskstore.Change {
	changes := make(chan taskstore.Change, 10_000)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := range b.Watch(ctx, prefix) {
			if err == nil {
				changes <- c
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	first := <-changes
	require.True(t, first.Resync)
	return changes
}

// next waits for a change.
func next(t testing.TB, changes <-chan taskstore.Change) taskstore.Change {
	select {
	case c := <-changes:
		return c
	case <-time.After(10 * time.Second):
		require.Fail(t, "no change comes")
		return taskstore.Change{}
	}
}

// The tables of changes are empty after a crash, which a watcher behind a pooler would not
// notice by its connection.
func TestWatchNoticesThatChangesWereLost(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	_, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	changes := watch(t, b, key)
	_, err = b.Put(ctx, key, hello)
	require.NoError(t, err)
	require.False(t, next(t, changes).Resync)
	exec(t, admin(t, s.URL()), schema, "TRUNCATE $S.change, $S.epoch")
	for {
		if next(t, changes).Resync {
			return
		}
	}
}

// A poll that comes too late for changes that may have been swept says Resync.
func TestWatchNoticesThatItPolledTooLate(t *testing.T) {
	s := pgtest.Shared(t)
	b := open(t, s.URL(), Options{Schema: newSchema(t, s.URL())})
	conn, err := b.pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	p := poller{f: newFeed(b), conn: conn.Conn().PgConn()}
	for range 2 {
		require.NoError(t, p.poll(ctx))
	}
	w := p.f.hub.Join(scopeOf(key), "")
	p.f.scopes[digest(watchOf(key))] = &watched{scope: w.Scope}
	for _, age := range []time.Duration{0, changesLast + time.Second} {
		p.at = p.at.Add(-age)
		require.NoError(t, p.poll(ctx))
		done, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		seen := false
		w.Run(done, func(h hub.Hint, err error) bool {
			seen = seen || h.Resync
			return err == nil
		})
		cancel()
		assert.Equal(t, age > 0, seen, "Resync after %v", age)
	}
}

// A transaction that began before a poll and commits after it is hinted by the next one.
func TestWatchSeesLateCommits(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	late := taskstore.Key{Owner: key.Owner, Task: "late"}
	for _, k := range []taskstore.Key{key, late} {
		_, err := b.Put(ctx, k, hello)
		require.NoError(t, err)
	}
	all := watch(t, b, taskstore.Key{Owner: key.Owner})
	tx, err := admin(t, s.URL()).Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, in(schema, "SELECT $S.put('owner', '', 'late', 'x', NULL, 1, NULL, $1, '12345678', NULL, false)"), watchOf(key))
	require.NoError(t, err)
	for range 3 { // polls that cannot see it
		_, err = b.Put(ctx, key, hello)
		require.NoError(t, err)
		for next(t, all).Key != key {
		}
	}
	require.NoError(t, tx.Commit(ctx))
	for {
		if c := next(t, all); c.Key == late {
			assert.Equal(t, taskstore.Version(2), c.Version)
			return
		}
	}
}
