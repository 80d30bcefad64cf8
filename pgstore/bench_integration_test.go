//go:build integration

package pgstore

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// durable is a server as an installation has it.
func durable(b *testing.B) *pgtest.Server { return pgtest.Start(b, "fsync=on") }

// Create, get, update, list and first page, beside those of other backends.
func BenchmarkBackend(b *testing.B) {
	s := durable(b)
	backendtest.Benchmark(b, func(tb testing.TB) taskstore.StorageBackend { return open(tb, s.URL("pool_max_conns=16"), Options{}) })
}

// From the start of a write to its hint.
func BenchmarkWatch(b *testing.B) {
	s := durable(b)
	for _, way := range []struct {
		name   string
		notify bool
		same   bool
	}{{"OtherProcess", false, false}, {"OtherProcessNotify", true, false}, {"SameProcess", false, true}} {
		b.Run(way.name, func(b *testing.B) {
			opts := Options{Schema: newSchema(b, s.URL()), Notify: way.notify}
			watcher := open(b, s.URL(), opts)
			writer := watcher
			if !way.same {
				writer = open(b, s.URL(), opts)
			}
			_, err := writer.Put(ctx, key, hello)
			require.NoError(b, err)
			changes := watch(b, watcher, key)
			for b.Loop() {
				v, err := writer.Put(ctx, key, hello)
				require.NoError(b, err)
				for c := next(b, changes); c.Version != v; c = next(b, changes) {
				}
			}
		})
	}
}

// BenchmarkRenewal measures the bytes that the server logs for the renewal of a lease, which
// writes a record anew and keeps its expiry, and the share of updates that write no index.
func BenchmarkRenewal(b *testing.B) {
	s := pgtest.Start(b, "fsync=on", "full_page_writes=on", "checkpoint_timeout=1h")
	root := admin(b, s.URL())
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, kind := range []string{"JSON", "Random"} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, kind), func(b *testing.B) {
				schema := newSchema(b, s.URL())
				store := open(b, s.URL(), Options{Schema: schema})
				data := make([]byte, size)
				_, _ = rand.Read(data)
				if kind == "JSON" {
					text := ""
					for i := 0; len(text) < size; i++ {
						text += fmt.Sprintf(`{"id":"%s","status":"working","step":%d},`, rand.Text()[:8], i)
					}
					data = []byte(text[:size])
				}
				var versions [100]taskstore.Version
				v := taskstore.Value{Data: data, ExpiresAt: time.Now().Add(time.Hour)}
				renew := func(i int) {
					var err error
					copy(v.Data[100:], fmt.Sprintf("%20d", time.Now().UnixNano())) // the lease
					i %= len(versions)
					versions[i], err = store.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, v, versions[i])
					require.NoError(b, err)
				}
				for i := range 3 * len(versions) { // pages are in the log as a whole once
					renew(i)
				}
				lsn := func() int64 { return query[int64](b, root, "", "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") }
				before, n := lsn(), 0
				for b.Loop() {
					renew(n)
					n++
				}
				b.ReportMetric(float64(lsn()-before)/float64(n), "WAL-B/op")
				time.Sleep(1500 * time.Millisecond) // the server's statistics lag
				hot := query[float64](b, root, schema, "SELECT n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) FROM pg_stat_all_tables WHERE relid = '$S.record'::regclass")
				b.ReportMetric(100*hot, "%HOT")
			})
		}
	}
}

// BenchmarkPoll measures one poll of a process that watches so many owners: without changes,
// and behind a thousand writes of others.
func BenchmarkPoll(b *testing.B) {
	s := durable(b)
	for _, changed := range []int{0, 1000} {
		for _, owners := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("changes=%d/owners=%d", changed, owners), func(b *testing.B) {
				schema := newSchema(b, s.URL())
				store := open(b, s.URL(), Options{Schema: schema})
				conn, err := store.pool.Acquire(ctx)
				require.NoError(b, err)
				defer conn.Release()
				p := poller{f: newFeed(store), conn: conn.Conn().PgConn()}
				for i := range owners {
					k := taskstore.Key{Owner: fmt.Sprint(i)}
					w := p.f.hub.Join(scopeOf(k), "")
					p.f.scopes[digest(watchOf(k))] = &watched{scope: w.Scope}
				}
				for range 2 {
					require.NoError(b, p.poll(ctx))
				}
				since := p.since
				exec(b, admin(b, s.URL()), schema, fmt.Sprintf("INSERT INTO $S.change (watch, version, task) SELECT gen_random_uuid(), 1, 'task' FROM generate_series(1, %d)", changed))
				for b.Loop() {
					p.since = since
					require.NoError(b, p.poll(ctx))
				}
			})
		}
	}
}

// BenchmarkSize reports the bytes that a task takes on disk, indexes included.
func BenchmarkSize(b *testing.B) {
	s := durable(b)
	root := admin(b, s.URL())
	for _, size := range []int{256, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			schema := newSchema(b, s.URL())
			store := open(b, s.URL(), Options{Schema: schema})
			n := 0
			v := taskstore.Value{Data: []byte(rand.Text() + strings.Repeat("x", size-26)), ExpiresAt: time.Now().Add(time.Hour)}
			for b.Loop() {
				_, err := store.PutIfVersion(ctx, taskstore.Key{Owner: "owner", Task: rand.Text()}, v, 0)
				require.NoError(b, err)
				n++
			}
			b.ReportMetric(float64(query[int64](b, root, schema, "SELECT pg_total_relation_size('$S.record')"))/float64(n), "B/task")
		})
	}
}

// BenchmarkCreateInOneTrip compares a create as a function of the server with statements of
// a pgx batch. The batch does less: it skips the look for the record, the limit and the hint.
func BenchmarkCreateInOneTrip(b *testing.B) {
	s := durable(b)
	data := []byte(strings.Repeat("x", 1024))
	b.Run("Function", func(b *testing.B) {
		store := open(b, s.URL(), Options{})
		for b.Loop() {
			_, err := store.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: rand.Text()}, taskstore.Value{Data: data}, 0)
			require.NoError(b, err)
		}
	})
	b.Run("Batch", func(b *testing.B) {
		schema := newSchema(b, s.URL())
		pool := admin(b, s.URL())
		owner, none := []byte("o"), []byte{}
		for b.Loop() {
			var batch pgx.Batch
			batch.Queue(in(schema, "INSERT INTO $S.scope AS s (owner, collection, n, last_seq) VALUES ($1, $2, 1, 1) ON CONFLICT (owner, collection) DO UPDATE SET n = s.n + 1, last_seq = s.last_seq + 1"), owner, none)
			batch.Queue(in(schema, "INSERT INTO $S.record (scope, seq, version, task, ops, data) SELECT s.id, s.last_seq, 1, $3, $4, $5 FROM $S.scope s WHERE owner = $1 AND collection = $2"), owner, none, []byte(rand.Text()), []byte("12345678"), data)
			require.NoError(b, pool.SendBatch(ctx, &batch).Close())
		}
	})
}
