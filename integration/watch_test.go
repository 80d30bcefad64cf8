//go:build integration

package integration

import (
	"context"
	"errors"
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

// A thousand watches of a process share one connection, which ends with the last of them.
func TestRedisWatchesShareAConnection(t *testing.T) {
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	listening := func() int {
		list, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
		require.NoError(t, err)
		return strings.Count(list, "id=")
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	const watches, owners = 1000, 50
	var inPlace, hinted atomic.Int64
	var wg sync.WaitGroup
	for i := range watches {
		wg.Go(func() {
			for c, err := range b.Watch(watching, taskstore.Key{Owner: strconv.Itoa(i % owners)}) {
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					return
				}
				if c.Resync {
					inPlace.Add(1)
				} else {
					hinted.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return inPlace.Load() == watches }, 20*time.Second, time.Millisecond)
	assert.Equal(t, 1, listening())
	for owner := range owners {
		_, err := b.Put(ctx, taskstore.Key{Owner: strconv.Itoa(owner), Task: "t"}, hello)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return hinted.Load() == watches }, 20*time.Second, time.Millisecond)
	cancel()
	wg.Wait()
	require.Eventually(t, func() bool { return listening() == 0 }, 20*time.Second, time.Millisecond)
}

// In a Cluster it is one connection a node.
func TestRedisClusterWatchesShareAConnectionANode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{})
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var inPlace atomic.Int64
	var wg sync.WaitGroup
	const owners = 60
	for i := range owners {
		wg.Go(func() {
			for c := range b.Watch(watching, taskstore.Key{Owner: strconv.Itoa(i)}) {
				if c.Resync {
					inPlace.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return inPlace.Load() == owners }, 20*time.Second, time.Millisecond)
	for _, m := range cluster.Masters {
		c := redis.NewClient(&redis.Options{Addr: m.Addr()})
		defer c.Close()
		list, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(list, "id="))
	}
	cancel()
	wg.Wait()
}

// A watch outlives its server: it waits, reconnects and says Resync.
func TestRedisWatchSurvivesARestart(t *testing.T) {
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	resyncs := 0
	for c, err := range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
		require.NoError(t, err)
		if !c.Resync {
			assert.Equal(t, taskstore.Change{Key: key, Version: 1}, c)
			break
		}
		if resyncs++; resyncs == 1 {
			server.Kill()
			server.Restart()
			continue
		}
		_, err := b.Put(ctx, key, hello)
		require.NoError(t, err)
	}
	assert.GreaterOrEqual(t, resyncs, 2)
}

func TestRedisCloseEndsWatches(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	for c, err := range s.Watch(ctx, taskstore.Key{Owner: "o"}) {
		if err != nil {
			assert.ErrorIs(t, err, taskstore.ErrClosed)
			return
		}
		assert.True(t, c.Resync)
		require.NoError(t, s.Close())
	}
	t.Fatal("the watch ended without an error")
}

func TestRedisWithoutHints(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{NoHints: true})
	for _, err := range s.Watch(ctx, taskstore.Key{Owner: "o"}) {
		assert.ErrorIs(t, err, errors.ErrUnsupported)
	}
	assert.True(t, everyVerb(t, s.RedisBackend, key, taskstore.Key{Owner: key.Owner, Task: "taskette"}))
}

// The watch takes a message of another program for a sign to look again, not for a hint.
func TestRedisWatchIgnoresOtherMessages(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	resyncs := 0
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for c, err := range s.Watch(ctx, taskstore.Key{Owner: "o"}) {
		require.NoError(t, err)
		require.True(t, c.Resync)
		for _, message := range []string{"", "nonsense", "-1 t", "x t", "1 ", "99999999999999999999 t"} {
			require.NoError(t, s.Client.Publish(ctx, s.IndexKey("o"), message).Err())
		}
		if resyncs++; resyncs == 2 {
			return
		}
	}
}

// asksCounted counts how often a watch asks whether its server takes the writes,
// and may take the answer away, as a proxy does that does not count.
type asksCounted struct {
	asks  *atomic.Int64
	mutes bool
}

func (asksCounted) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a asksCounted) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.IntCmd); ok && strings.HasSuffix(cmd.Name(), "publish") && err == nil {
			if a.mutes {
				c.SetVal(0)
			}
			a.asks.Add(1)
		}
		return err
	}
}

func (asksCounted) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// As long as all is well a watch says Resync once, even if the server does not count the
// receivers of a message.
func TestRedisWatchSaysResyncOnceWhileAllIsWell(t *testing.T) {
	for name, c := range map[string]struct {
		start   func(testing.TB, ...string) *redistest.Server
		cluster bool
		mutes   bool
	}{
		"OneServer":         {start: redistest.Start},
		"Cluster":           {start: redistest.StartClusterOfOne, cluster: true},
		"DoesNotCount":      {start: redistest.Start, mutes: true},
		"ClusterCountsNone": {start: redistest.StartClusterOfOne, cluster: true, mutes: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.cluster {
				redistest.Need(t, redistest.ShardedChannels) // without them a Cluster is not asked
			}
			client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{c.start(t).Addr()}, IsClusterMode: c.cluster})
			defer client.Close()
			var asks, resyncs atomic.Int64
			client.AddHook(asksCounted{&asks, c.mutes})
			b, err := taskstore.NewRedisBackend(client, nil)
			require.NoError(t, err)
			defer b.Close()
			go func() {
				for c := range b.Watch(ctx, taskstore.Key{Owner: "o"}) {
					if c.Resync {
						resyncs.Add(1)
					}
				}
			}()
			require.Eventually(t, func() bool { return asks.Load() >= 3 }, 20*time.Second, time.Millisecond)
			assert.EqualValues(t, 1, resyncs.Load())
		})
	}
}
