//go:build integration

package pgstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// A walk of many pages yields each owner once, while others come, go and expire.
func TestOwnersOfManyPagesAreEachYieldedOnce(t *testing.T) {
	s := pgtest.Shared(t)
	b := open(t, s.URL(), Options{})
	// Three pages, some of which have expired owners only.
	const live = "i % 3 <> 1 AND i NOT BETWEEN 400 AND 999"
	exec(t, admin(t, s.URL()), b.opts.Schema, `INSERT INTO $S.scope (owner, collection, n, last_seq)
			SELECT convert_to(repeat('x', 1000) || to_char(i, 'FM0000'), 'UTF8'), 'c', 2, 2 FROM generate_series(0, 1499) i;
		INSERT INTO $S.record (scope, seq, version, expires, task, ops, data)
			SELECT s.id, j, 1, CASE WHEN j = 1 OR NOT (`+live+`) THEN 1 END, convert_to(j::text, 'UTF8'), '12345678', ''
			FROM generate_series(0, 1499) i JOIN $S.scope s ON s.owner = convert_to(repeat('x', 1000) || to_char(i, 'FM0000'), 'UTF8'), generate_series(1, 2) j`)
	name := func(i int) string { return fmt.Sprintf("%s%04d", strings.Repeat("x", 1000), i) }
	churning, stop := context.WithCancel(ctx)
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; churning.Err() == nil; i += 7 {
			key := taskstore.Key{Owner: name(i%1500) + "-more", Task: "t"}
			_, err := b.Put(ctx, key, hello)
			assert.NoError(t, err)
			_, err = b.Delete(ctx, key)
			assert.NoError(t, err)
		}
	})
	times := make(map[string]int)
	for owner, err := range b.Owners(ctx) {
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

// A walk goes on behind a lost connection, without repeating an owner, and ends with its
// backend.
func TestAWalkOverOwnersOutlivesItsConnection(t *testing.T) {
	s := pgtest.Shared(t)
	b := open(t, s.URL("application_name=owners-walk"), Options{})
	root := admin(t, s.URL())
	exec(t, root, b.opts.Schema, `INSERT INTO $S.scope (owner, collection, n, last_seq) SELECT convert_to('o' || i, 'UTF8'), '', 1, 1 FROM generate_series(1, 1200) i`)
	times := make(map[string]int)
	for owner, err := range b.Owners(ctx) {
		require.NoError(t, err)
		if len(times)%300 == 0 {
			query[int](t, root, "", "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE application_name = 'owners-walk'")
		}
		times[owner]++
	}
	assert.Len(t, times, 1200)
	var errs []error
	for _, err := range b.Owners(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		require.NoError(t, b.Close())
	}
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], taskstore.ErrClosed)
}
