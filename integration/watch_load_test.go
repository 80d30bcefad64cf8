//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// A reader that does not read costs the others no time: writers go on, and the memory of its
// process and of the server stays the same. In the end the reader gets one hint a record, or a
// Resync if there would be too many hints.
func TestRedisWatchWithASlowReader(t *testing.T) {
	const changes = 100_000
	for _, records := range []int{1000, 2000} {
		t.Run(fmt.Sprintf("%dRecords", records), func(t *testing.T) {
			server := redistest.Start(t)
			b := storetest.Open(t, server.URL(), taskstore.RedisOptions{Prefix: "p"})
			c := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer c.Close()
			watching, cancel := context.WithTimeout(ctx, 3*time.Minute)
			defer cancel()
			hinted := make(map[string]taskstore.Version)
			resyncs := 0
			for change, err := range b.Watch(watching, taskstore.Key{Owner: key.Owner}) {
				require.NoError(t, err)
				if !change.Resync {
					assert.NotContains(t, hinted, change.Key.Task, "the hints of a record are merged")
					hinted[change.Key.Task] = change.Version
				} else if resyncs++; resyncs == 1 {
					hints(t, c, "p:idx:{owner}", records, records) // all connections and buffers are there now
					arrived(t, b)
					before := heap()
					hints(t, c, "p:idx:{owner}", records, changes)
					for n := range records {
						_, err := b.Put(ctx, taskstore.Key{Owner: key.Owner, Task: strconv.Itoa(n)}, hello)
						require.NoError(t, err)
					}
					arrived(t, b)
					after := heap()
					t.Logf("the heap grew from %d to %d KiB", before>>10, after>>10)
					assert.Less(t, after, before+1<<20, "the heap holds few pending hints")
					assert.Zero(t, outputBuffers(t, server), "the server's output buffers are empty")
				}
				if len(hinted) == records || resyncs == 2 {
					break
				}
			}
			if records == 1000 {
				assert.Equal(t, 1, resyncs)
				for task, version := range hinted {
					assert.EqualValues(t, 1, version, "the hint of %s is that of the latest write", task)
				}
			} else {
				assert.Equal(t, 2, resyncs, "hints gave way to a Resync")
				assert.Empty(t, hinted)
			}
		})
	}
}

// hints publishes the messages of so many writes to records in turn.
func hints(t *testing.T, c *redis.Client, channel string, records, writes int) {
	for from := 0; from < writes; from += 1000 {
		_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for n := from; n < from+1000; n++ {
				pipe.Publish(ctx, channel, fmt.Sprintf("%d %d", 2+n/records, n%records))
			}
			return nil
		})
		require.NoError(t, err)
	}
}

// arrived waits until the hints of all writes so far have arrived: another watch
// on the same connection has the hint of a later one.
func arrived(t *testing.T, b *taskstore.RedisBackend) {
	last := taskstore.Key{Owner: "another owner", Task: "last"}
	watching, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for c, err := range b.Watch(watching, taskstore.Key{Owner: last.Owner}) {
		require.NoError(t, err)
		if !c.Resync {
			return
		}
		_, err := b.Put(ctx, last, hello)
		require.NoError(t, err)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// outputBuffers returns how many bytes wait for the subscribers of a server.
func outputBuffers(t *testing.T, server *redistest.Server) (bytes int) {
	list, err := pubsubConnections(t, server)
	require.NoError(t, err)
	for _, line := range list {
		_, omem, _ := strings.Cut(line, " omem=")
		omem, _, _ = strings.Cut(omem, " ")
		n, err := strconv.Atoi(omem)
		require.NoError(t, err)
		bytes += n
	}
	return bytes
}

func pubsubConnections(t *testing.T, server *redistest.Server) ([]string, error) {
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	list, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
	return slices.Collect(strings.Lines(list)), err
}

// A watch that has ended frees all it held, in the process and on the server.
func TestRedisWatchesFreeAllTheyHold(t *testing.T) {
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	goroutines := runtime.NumGoroutine()
	watch200(t, b, func(c taskstore.Change) bool { return false })
	noMoreGoroutines(t, goroutines)
	assert.Eventually(t, func() bool {
		list, err := pubsubConnections(t, server)
		return err == nil && len(list) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// noMoreGoroutines waits until there are no more goroutines than that. It polls by itself,
// because Eventually would start some.
func noMoreGoroutines(t *testing.T, most int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, not %d:\n%s", runtime.NumGoroutine(), most, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// watch200 runs 200 watches of 50 owners side by side, each until goOn is false.
func watch200(t *testing.T, b *taskstore.RedisBackend, goOn func(taskstore.Change) bool) {
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for c, err := range b.Watch(ctx, taskstore.Key{Owner: strconv.Itoa(i % 50)}) {
				if err != nil {
					assert.ErrorIs(t, err, taskstore.ErrClosed)
					return
				}
				if !goOn(c) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// Close ends watches at once that are busy reconnecting, and frees all they held.
func TestRedisCloseWhileWatchesReconnect(t *testing.T) {
	for name, c := range map[string]struct {
		start func(testing.TB, ...string) *redistest.Server
		fail  func(*redistest.Server)
	}{
		"SuspendedServer": {redistest.Start, (*redistest.Server).Suspend},
		"KilledCluster":   {redistest.StartClusterOfOne, (*redistest.Server).Kill},
	} {
		t.Run(name, func(t *testing.T) {
			server := c.start(t)
			goroutines := runtime.NumGoroutine()
			var dials, inPlace atomic.Int64
			client := redis.NewUniversalClient(&redis.UniversalOptions{
				Addrs:         []string{server.Addr()},
				IsClusterMode: name == "KilledCluster",
				Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials.Add(1)
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			})
			defer client.Close()
			b, err := taskstore.NewRedisBackend(client, nil)
			require.NoError(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				watch200(t, b, func(taskstore.Change) bool { inPlace.Add(1); return true })
			}()
			require.Eventually(t, func() bool { return inPlace.Load() == 200 }, 20*time.Second, time.Millisecond)
			before := dials.Load()
			c.fail(server)
			require.Eventually(t, func() bool { return dials.Load() > before }, 30*time.Second, time.Millisecond, "the watches reconnect")
			require.NoError(t, b.Close())
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the watches go on")
			}
			require.NoError(t, client.Close())
			noMoreGoroutines(t, goroutines)
		})
	}
}
