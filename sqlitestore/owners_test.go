package sqlitestore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// A walk of many pages yields each owner once, while others come, go and expire.
func TestOwnersOfManyPagesAreEachYieldedOnce(t *testing.T) {
	b := fresh(t, &sqlitestore.Options{SynchronousNormal: true})
	name := func(i int) string { return fmt.Sprintf("%s%04d", strings.Repeat("x", 1000), i) }
	now := time.Now()
	put := func(owner string, v taskstore.Value) {
		_, err := b.Put(t.Context(), taskstore.Key{Owner: owner, Collection: "c", Task: "t"}, v)
		assert.NoError(t, err)
	}
	for i := range 1500 { // three pages, some of which have expired owners only
		v := taskstore.Value{}
		if i%3 == 1 || i >= 400 && i < 1000 {
			v.ExpiresAt = now.Add(200 * time.Millisecond)
		}
		put(name(i), v)
	}
	require.Eventually(t, func() bool { return time.Since(now) > 201*time.Millisecond }, 10*time.Second, time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			owner := name(i%1500) + "-more"
			put(owner, taskstore.Value{})
			_, err := b.Delete(t.Context(), taskstore.Key{Owner: owner, Collection: "c", Task: "t"})
			assert.NoError(t, err)
		}
	})
	times := make(map[string]int)
	for owner, err := range b.Owners(t.Context()) {
		require.NoError(t, err)
		times[owner]++
	}
	stop()
	churn.Wait()
	for i := range 1500 {
		want := 1
		if i%3 == 1 || i >= 400 && i < 1000 {
			want = 0
		}
		if times[name(i)] != want {
			t.Fatalf("owner %d was yielded %d times", i, times[name(i)])
		}
	}
	for _, n := range times {
		assert.Equal(t, 1, n)
	}
}

// A walk between two owners lets others write, and ends with its backend.
func TestAWalkOverOwnersHoldsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	b, other := open(t, path, nil), open(t, path, nil)
	for i := range 3 {
		_, err := b.Put(t.Context(), taskstore.Key{Owner: fmt.Sprint(i), Task: "t"}, taskstore.Value{})
		require.NoError(t, err)
	}
	var errs []error
	for _, err := range b.Owners(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := other.CleanupExpired(t.Context())
		require.NoError(t, err)
		var busy, left, done int
		require.NoError(t, look(t, path).QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &left, &done))
		assert.Zero(t, busy, "no reader is in the way of a checkpoint")
		require.NoError(t, b.Close())
	}
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], taskstore.ErrClosed)
}
