//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// The module bench measures the figures that are compared with others.

func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	backendtest.Benchmark(b, func(tb testing.TB) taskstore.StorageBackend {
		return storetest.Open(tb, server.URL(), taskstore.RedisOptions{})
	})
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// fillRecords writes n records of 1 KiB for owner, by many callers.
func fillRecords(b *testing.B, backend *taskstore.RedisBackend, owner string, n int) {
	b.Helper()
	data := make([]byte, 1024)
	var next atomic.Int64
	done := make(chan error)
	const callers = 64
	for range callers {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					done <- nil
					return
				}
				if _, err := backend.PutIfVersion(ctx, taskstore.Key{Owner: owner, Task: strconv.Itoa(i)}, taskstore.Value{Data: data}, 0); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range callers {
		require.NoError(b, <-done)
	}
}

// The benchmark measures how a list of 100,000 records affects other clients of the server.
func BenchmarkRedisListBystander(b *testing.B) {
	const n = 100_000
	c := redis.NewClient(&redis.Options{Addr: redistest.Start(b).Addr(), ReadTimeout: time.Minute})
	b.Cleanup(func() { _ = c.Close() })
	backend, err := taskstore.NewRedisBackend(c, nil)
	require.NoError(b, err)
	fillRecords(b, backend, "o", n)
	require.NoError(b, c.Set(ctx, "bystander", "x", 0).Err())
	require.NoError(b, c.ConfigSet(ctx, "slowlog-log-slower-than", "200").Err())
	require.NoError(b, c.Do(ctx, "SLOWLOG", "RESET").Err())
	p99 := func(stop func() bool) float64 {
		var took []float64
		for !stop() {
			start := time.Now()
			require.NoError(b, c.Get(ctx, "bystander").Err())
			took = append(took, float64(time.Since(start))/1e3)
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	var idle, busy []float64
	for b.Loop() {
		count := 0
		idle = append(idle, p99(func() bool { count++; return count > 3000 }))
		listed := make(chan error, 1)
		go func() {
			list, err := backend.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
			if err == nil && len(list) != n {
				err = fmt.Errorf("%d records are listed", len(list))
			}
			listed <- err
		}()
		var err error
		busy = append(busy, p99(func() bool {
			select {
			case err = <-listed:
				return true
			default:
				return false
			}
		}))
		require.NoError(b, err)
	}
	slow, err := c.SlowLogGet(ctx, -1).Result()
	require.NoError(b, err)
	longest := time.Duration(0)
	for _, s := range slow {
		longest = max(longest, s.Duration)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(idle), "idle-p99-µs")
	b.ReportMetric(median(busy), "listing-p99-µs")
	b.ReportMetric(float64(longest.Microseconds()), "longest-command-µs")
}
