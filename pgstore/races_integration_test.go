//go:build integration

package pgstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// countsAreRight checks that each scope counts its rows and has at least one.
func countsAreRight(t *testing.T, root *pgxpool.Pool, schema string) {
	t.Helper()
	wrong := query[int](t, root, schema, `SELECT count(*) FROM $S.scope s WHERE n <> (SELECT count(*) FROM $S.record r WHERE r.scope = s.id) OR n = 0`)
	assert.Zero(t, wrong, "scopes whose count is wrong")
	assert.Zero(t, query[int](t, root, schema, `SELECT count(*) FROM $S.record r WHERE NOT EXISTS (SELECT FROM $S.scope s WHERE s.id = r.scope)`), "records without a scope")
}

// The limit is exact, with records that expire meanwhile, from several processes.
func TestLimitIsExactWith1000Racers(t *testing.T) {
	const most, racers, processes, past = 100, 1000, 4, 50
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	var all []*Backend
	for range processes {
		all = append(all, open(t, s.URL("pool_max_conns=10"), Options{Schema: schema, MaxRecordsPerOwner: most}))
	}
	now, err := all[0].Now(ctx)
	require.NoError(t, err)
	for i := range past {
		_, err := all[0].Put(ctx, taskstore.Key{Owner: "o", Task: fmt.Sprint("past-", i)}, taskstore.Value{ExpiresAt: now.Add(300 * time.Millisecond)})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		list, err := all[0].ListByPrefix(ctx, taskstore.Key{Owner: "o"})
		return err == nil && len(list) == 0
	}, 10*time.Second, 10*time.Millisecond)
	var created atomic.Int64
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			b, key, n := all[i%processes], taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, int64(1)
			var err error
			switch i % 3 {
			case 0:
				_, err = b.Put(ctx, key, hello)
			case 1:
				_, err = b.PutIfVersion(ctx, key, hello, 0)
			case 2:
				other := key
				other.Task += "b"
				n, err = 2, b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: hello}, {Key: other, Value: hello}})
			}
			if err == nil {
				created.Add(n)
			} else {
				assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
			}
		})
	}
	wg.Wait()
	list, err := all[0].ListByPrefix(ctx, taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, list, int(created.Load()))
	assert.GreaterOrEqual(t, len(list), most-1, "a batch of two may be refused for the last place")
	assert.LessOrEqual(t, len(list), most)
	countsAreRight(t, admin(t, s.URL()), schema)
}

// mixFor is how long batches are mixed; TASKSTORE_POSTGRES_MIX=1h makes it an hour.
func mixFor(t *testing.T) time.Duration {
	text := os.Getenv("TASKSTORE_POSTGRES_MIX")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// Writers of the same records at once, in batches of any order, do not wait in a circle.
func TestMixedBatchesDoNotDeadlock(t *testing.T) {
	s := pgtest.Start(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	end := time.Now().Add(mixFor(t))
	var calls, refused atomic.Int64
	var wg sync.WaitGroup
	for worker := range 12 {
		b := open(t, s.URL("pool_max_conns=2"), Options{Schema: schema, MaxRecordsPerOwner: 5})
		wg.Go(func() {
			for time.Now().Before(end) {
				err := mix(b, rand.New(rand.NewPCG(uint64(worker), rand.Uint64())))
				calls.Add(1)
				if errors.Is(err, taskstore.ErrVersionConflict) || errors.Is(err, taskstore.ErrCapacityExceeded) {
					refused.Add(1)
				} else if !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls, %d of them refused", calls.Load(), refused.Load())
	time.Sleep(50 * time.Millisecond)
	assert.Zero(t, query[int](t, root, "", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"), "deadlocks")
	assert.NotContains(t, s.Log(), "deadlock")
	assert.Greater(t, calls.Load(), 2*refused.Load(), "most calls are made")
	countsAreRight(t, root, schema)
}

// mix makes a call on the same few records as all others.
func mix(b *Backend, random *rand.Rand) error {
	pick := func() taskstore.Key {
		return taskstore.Key{Owner: "o", Collection: fmt.Sprint(random.IntN(3)), Task: fmt.Sprint(random.IntN(6))}
	}
	value := func() taskstore.Value {
		switch random.IntN(4) {
		case 0:
			return taskstore.Value{ExpiresAt: time.Now().Add(time.Duration(random.IntN(20)-5) * time.Millisecond)}
		case 1:
			return taskstore.Value{ExpiresAt: time.Now().Add(-time.Second)}
		}
		return hello
	}
	switch random.IntN(8) {
	case 0:
		_, err := b.Put(ctx, pick(), value())
		return err
	case 1:
		_, err := b.Delete(ctx, pick())
		return err
	case 2:
		key := pick()
		r, err := b.Get(ctx, key)
		if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
			return err
		}
		_, err = b.PutIfVersion(ctx, key, value(), r.Version)
		return err
	case 3:
		if random.IntN(10) == 0 {
			_, err := b.CleanupExpired(ctx)
			return err
		}
	}
	var writes []taskstore.Write
	for seen := map[taskstore.Key]bool{}; len(writes) < 1+random.IntN(8); {
		key := pick()
		if seen[key] {
			continue
		}
		seen[key] = true
		w := taskstore.Write{Key: key, Value: value(), Expected: taskstore.AnyVersion}
		if len(writes) == 0 {
			r, err := b.Get(ctx, key)
			if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
				return err
			}
			w.Expected = r.Version
		}
		writes = append(writes, w)
	}
	return b.PutBatch(ctx, writes)
}

// An UPDATE that waited for a record, and then finds it changed, keeps a lock on it. A call
// that goes on from there with the scope's lock would take the two in the wrong order.
func TestALostRaceKeepsNoLockOnTheRecord(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	b := open(t, s.URL("application_name="+schema), Options{Schema: schema})
	_, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	waits := func() bool {
		return query[int](t, root, "", "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", schema) == 1
	}
	faster, err := root.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = faster.Rollback(ctx) }()
	_, err = faster.Exec(ctx, in(schema, "UPDATE $S.record SET version = version + 1, expires = 1"))
	require.NoError(t, err)
	batch, err := root.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = batch.Rollback(ctx) }()
	_, err = batch.Exec(ctx, in(schema, "SELECT FROM $S.scope FOR NO KEY UPDATE"))
	require.NoError(t, err)
	// Less than the server waits before it looks for deadlocks.
	_, err = batch.Exec(ctx, "SET LOCAL lock_timeout = '800ms'")
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { _, err := b.Put(ctx, key, hello); result <- err }()
	require.Eventually(t, waits, 10*time.Second, time.Millisecond, "for the record")
	require.NoError(t, faster.Commit(ctx))
	_, err = batch.Exec(ctx, in(schema, "SELECT FROM $S.record FOR NO KEY UPDATE"))
	require.NoError(t, err, "the batch gets the record, though the Put was there before it")
	require.Eventually(t, waits, 10*time.Second, time.Millisecond, "for the scope")
	require.NoError(t, batch.Commit(ctx))
	require.NoError(t, <-result)
}
