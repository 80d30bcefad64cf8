//go:build integration

package pgstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// The server judges a write that waits for a lock by the time at which it gets the lock,
// whether or not the holder has changed the record.
func TestAWriteIsJudgedBehindItsWait(t *testing.T) {
	s := pgtest.Shared(t)
	root := admin(t, s.URL())
	for _, held := range []struct{ name, sql string }{
		{"ByALock", "SELECT FROM $S.record FOR UPDATE"},
		{"ByAWriteThatIsUndone", "UPDATE $S.record SET data = 'other'"},
	} {
		for name, write := range map[string]func(*Backend) error{
			"PutIfVersion": func(b *Backend) error { _, err := b.PutIfVersion(ctx, key, hello, 1); return err },
			"PutBatch": func(b *Backend) error {
				return b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: hello, Expected: 1}})
			},
		} {
			t.Run(held.name+name, func(t *testing.T) {
				schema := newSchema(t, s.URL())
				b := open(t, s.URL("application_name="+schema), Options{Schema: schema})
				now, err := b.Now(ctx)
				require.NoError(t, err)
				at := now.Add(500 * time.Millisecond)
				_, err = b.Put(ctx, key, taskstore.Value{ExpiresAt: at})
				require.NoError(t, err)
				tx, err := root.Begin(ctx)
				require.NoError(t, err)
				_, err = tx.Exec(ctx, in(schema, held.sql))
				require.NoError(t, err)
				result := make(chan error, 1)
				go func() { result <- write(b) }()
				require.Eventually(t, func() bool {
					return query[int](t, root, "", "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", schema) == 1
				}, 10*time.Second, time.Millisecond, "the write waits")
				require.Eventually(t, func() bool {
					return query[int64](t, root, schema, "SELECT $S.now_us() / 1000") > at.UnixMilli()
				}, 10*time.Second, 5*time.Millisecond)
				require.NoError(t, tx.Rollback(ctx))
				var conflict *taskstore.VersionConflictError
				require.ErrorAs(t, <-result, &conflict)
				assert.Zero(t, conflict.Actual, "the record has expired")
			})
		}
	}
}

// A write of any owner sweeps expired records, and the scopes that they leave empty.
func TestSweepsComeWithWrites(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	now, err := b.Now(ctx)
	require.NoError(t, err)
	for i := range 20 {
		_, err := b.Put(ctx, taskstore.Key{Owner: fmt.Sprint(i % 5), Task: fmt.Sprint(i)}, taskstore.Value{ExpiresAt: now.Add(50 * time.Millisecond)})
		require.NoError(t, err)
	}
	b.sweeper.mu.Lock()
	b.sweeper.due = time.Now().Add(100 * time.Millisecond)
	b.sweeper.mu.Unlock()
	require.Eventually(t, func() bool {
		_, err := b.Put(ctx, key, hello)
		return err == nil && query[int](t, root, schema, "SELECT count(*) FROM $S.record") == 1
	}, 10*time.Second, 20*time.Millisecond)
	assert.Equal(t, 1, query[int](t, root, schema, "SELECT count(*) FROM $S.scope"))
}

// A sweep passes by a scope that is locked, and CleanupExpired comes back for it.
func TestCleanupRetriesLockedRecords(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	for _, owner := range []string{"locked", "free"} {
		_, err := b.Put(ctx, taskstore.Key{Owner: owner, Task: "t"}, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
	}
	exec(t, root, schema, "UPDATE $S.record SET expires = 1")
	tx, err := root.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, in(schema, "SELECT FROM $S.scope WHERE owner = 'locked' FOR UPDATE"))
	require.NoError(t, err)
	removed := make(chan int, 1)
	go func() {
		n, err := b.CleanupExpired(ctx)
		assert.NoError(t, err)
		removed <- n
	}()
	require.Eventually(t, func() bool { return query[int](t, root, schema, "SELECT count(*) FROM $S.record") == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, tx.Rollback(ctx))
	assert.Equal(t, 2, <-removed)
}

// Changes go when every watcher has polled, and not before.
func TestOldChangesGo(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	changes := func() int { return query[int](t, root, schema, "SELECT count(*) FROM $S.change") }
	sweep := func(age time.Duration) {
		b.sweeper.newer.at = b.sweeper.newer.at.Add(-age)
		_, _, err := b.sweeper.sweep(ctx, b)
		require.NoError(t, err)
	}
	_, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	sweep(0)
	sweep(changesKept / 2)
	assert.Equal(t, 1, changes())
	_, err = b.Put(ctx, key, hello)
	require.NoError(t, err)
	sweep(changesKept)
	assert.Equal(t, 1, changes(), "the older one is gone")
}
