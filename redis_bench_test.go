//go:build integration

package taskstore_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
)

// These benchmarks compare ways to do one thing, in turns within one run, and
// report medians and ratios: the absolute figures are the machine's. They start
// a server of their own.

func BenchmarkMemory(b *testing.B) {
	backendtest.Benchmark(b, func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) })
}

func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	backendtest.Benchmark(b, func(tb testing.TB) taskstore.StorageBackend {
		return openRedis(tb, server.URL(), taskstore.RedisOptions{})
	})
}

func benchServer(b *testing.B) *redis.Client {
	b.Helper()
	server := redistest.Start(b)
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute})
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func lend(b *testing.B, c *redis.Client, opts taskstore.RedisOptions) *taskstore.RedisBackend {
	b.Helper()
	backend, err := taskstore.NewRedisBackend(c, &opts)
	require.NoError(b, err)
	return backend
}

// The naive layout to compare with: a hash and an index, a script that writes
// everything each time, a listing of one round trip per task.
var naiveUpdate = redis.NewScript(`
local current = redis.call('HGET', KEYS[1], 'version')
if not current then return -1 end
if tonumber(current) ~= tonumber(ARGV[5]) then return 0 end
local version = tonumber(current) + 1
redis.call('HSET', KEYS[1], 'version', tostring(version), 'data', ARGV[1])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'expires_at', ARGV[2])
  redis.call('EXPIREAT', KEYS[1], tonumber(ARGV[2]))
else
  redis.call('HDEL', KEYS[1], 'expires_at')
  redis.call('PERSIST', KEYS[1])
end
redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[4])
return version`)

func naiveList(b *testing.B, c *redis.Client, index, start string) (n int) {
	tasks, err := c.ZRange(ctx, index, 0, -1).Result()
	require.NoError(b, err)
	for _, task := range tasks {
		fields, err := c.HGetAll(ctx, start+task).Result()
		require.NoError(b, err)
		if len(fields) > 0 {
			n++
		}
	}
	return n
}

// serverTime returns the server's microseconds per call of command in f.
func serverTime(b *testing.B, c *redis.Client, command string, f func()) float64 {
	b.Helper()
	require.NoError(b, c.ConfigResetStat(ctx).Err())
	f()
	stats, err := c.Info(ctx, "commandstats").Result()
	require.NoError(b, err)
	_, line, ok := strings.Cut(stats, "cmdstat_"+command+":")
	require.True(b, ok, "the server was sent no %s", command)
	_, value, _ := strings.Cut(line, "usec_per_call=")
	value, _, _ = strings.Cut(value, ",")
	us, err := strconv.ParseFloat(value, 64)
	require.NoError(b, err)
	return us
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// The server's time for an update of 1 KiB that keeps its expiry, and for a Get,
// against the naive script and HGETALL.
func BenchmarkRedisServerTimeOfUpdate(b *testing.B) {
	const calls = 300
	for _, expires := range []bool{true, false} {
		b.Run(fmt.Sprintf("expires=%t", expires), func(b *testing.B) {
			c := benchServer(b)
			data := strings.Repeat("x", 1024)
			v := taskstore.Value{Data: []byte(data)}
			seconds := ""
			if expires {
				v.ExpiresAt = time.Now().Add(time.Hour)
				seconds = strconv.FormatInt(v.ExpiresAt.Unix(), 10)
			}
			naiveKeys := []string{"naive:task:owner:" + key.Task, "naive:idx:owner"}
			require.NoError(b, c.HSet(ctx, naiveKeys[0], "version", 1, "data", data).Err())
			naiveVersion := int64(1)
			type way struct {
				name, command string
				call          func() error
			}
			ways := []way{
				{"naive-update", "evalsha", func() (err error) {
					naiveVersion, err = naiveUpdate.Run(ctx, c, naiveKeys, data, seconds, "1700000000", key.Task, naiveVersion).Int64()
					return err
				}},
				{"naive-get", "hgetall", func() error { return c.HGetAll(ctx, naiveKeys[0]).Err() }},
			}
			for name, opts := range map[string]taskstore.RedisOptions{
				"hints": {Prefix: "hints"}, "nohints": {Prefix: "nohints", NoHints: true},
			} {
				backend := lend(b, c, opts)
				version, err := backend.Put(ctx, key, v)
				require.NoError(b, err)
				_, err = backend.Now(ctx)
				require.NoError(b, err)
				ways = append(ways, way{name + "-update", "evalsha", func() (err error) {
					version, err = backend.PutIfVersion(ctx, key, v, version)
					return err
				}})
				if name == "hints" {
					ways = append(ways, way{"get", "hmget", func() error { _, err := backend.Get(ctx, key); return err }})
				}
			}
			require.NoError(b, ways[0].call())
			us := map[string][]float64{}
			for b.Loop() {
				for _, w := range ways {
					us[w.name] = append(us[w.name], serverTime(b, c, w.command, func() {
						for range calls {
							require.NoError(b, w.call())
						}
					}))
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, w := range ways {
				b.ReportMetric(median(us[w.name]), w.name+"-µs")
			}
			b.ReportMetric(median(us["hints-update"])/median(us["naive-update"]), "hints/naive")
			b.ReportMetric(median(us["nohints-update"])/median(us["naive-update"]), "nohints/naive")
			b.ReportMetric(median(us["get"])/median(us["naive-get"]), "get/hgetall")
		})
	}
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

// A listing against one round trip per task, on the same records.
func BenchmarkRedisList(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			c := benchServer(b)
			backend := lend(b, c, taskstore.RedisOptions{Prefix: "p"})
			fillRecords(b, backend, "o", n)
			var ours, naive []float64
			for b.Loop() {
				start := time.Now()
				list, err := backend.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
				ours = append(ours, float64(time.Since(start)))
				require.NoError(b, err)
				require.Len(b, list, n)
				start = time.Now()
				require.Equal(b, n, naiveList(b, c, "p:idx:{o}", "p:tasks:{o}:"))
				naive = append(naive, float64(time.Since(start)))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours)/1e6, "list-ms")
			b.ReportMetric(median(naive)/1e6, "one-by-one-ms")
			b.ReportMetric(median(naive)/median(ours), "times-faster")
		})
	}
}

// What 100,000 listed records do to the others on the server.
func BenchmarkRedisListBystander(b *testing.B) {
	const n = 100_000
	c := benchServer(b)
	backend := lend(b, c, taskstore.RedisOptions{Prefix: "p"})
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

// The server's time for a create under a limit, by how many records there are.
func BenchmarkRedisLimit(b *testing.B) {
	c := benchServer(b)
	sizes := []int{10, 1000, 100_000}
	backend := lend(b, c, taskstore.RedisOptions{MaxRecordsPerOwner: 1_000_000})
	for _, n := range sizes {
		fillRecords(b, backend, strconv.Itoa(n), n)
	}
	const calls = 200
	us := map[int][]float64{}
	for b.Loop() {
		for _, n := range sizes {
			k := func(i int) taskstore.Key { return taskstore.Key{Owner: strconv.Itoa(n), Task: fmt.Sprint("new", i)} }
			us[n] = append(us[n], serverTime(b, c, "evalsha", func() {
				for i := range calls {
					_, err := backend.PutIfVersion(ctx, k(i), taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)}, 0)
					require.NoError(b, err)
				}
			}))
			for i := range calls {
				_, err := backend.Delete(ctx, k(i))
				require.NoError(b, err)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, n := range sizes {
		b.ReportMetric(median(us[n]), fmt.Sprintf("create-at-%d-µs", n))
	}
	b.ReportMetric(median(us[100_000])/median(us[10]), "100000/10")
}
