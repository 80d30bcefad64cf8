//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

// The slot of an owner may move to another node of a Cluster. The owner's watch moves along,
// and the watches of other owners, on the same connection, go on undisturbed.
func TestRedisWatchFollowsAMovedSlot(t *testing.T) {
	t.Parallel()
	redistest.Need(t, redistest.ShardedChannels) // other channels are heard on every node
	cluster := redistest.StartCluster(t)
	f := watchUnderFaults(t, cluster.URL())
	from := masterOf(t, cluster, f.channel)
	prefix, _, _ := strings.Cut(f.channel, ":")
	resyncs := make(map[string]*atomic.Int64)
	watching, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	for n := 0; len(resyncs) < 10; n++ {
		owner := fmt.Sprint("neighbour", n)
		if masterOf(t, cluster, prefix+":idx:{"+owner+"}") != from {
			continue
		}
		count := new(atomic.Int64)
		resyncs[owner] = count
		f.finished.Go(func() {
			for c := range f.watcher.Watch(watching, taskstore.Key{Owner: owner}) {
				if c.Resync {
					count.Add(1)
				}
			}
		})
	}
	for _, count := range resyncs {
		require.Eventually(t, func() bool { return count.Load() == 1 }, 20*time.Second, time.Millisecond)
	}
	to := cluster.Masters[(slices.Index(cluster.Masters, from)+1)%len(cluster.Masters)]
	for range 6 {
		before, fault := f.resyncs.Load(), time.Now()
		cluster.MoveSlot(t, f.channel, from, to)
		moved := time.Now()
		f.knowsEverything(fault, moved, 10*time.Second)
		assert.Greater(t, f.resyncs.Load(), before)
		require.Eventually(t, func() bool { return slices.Contains(shardChannels(t, to), f.channel) }, 10*time.Second, time.Millisecond)
		assert.NotContains(t, shardChannels(t, from), f.channel)
		from, to = to, from
	}
	for owner, count := range resyncs {
		assert.EqualValues(t, 1, count.Load(), "%s was disturbed", owner)
	}
}

// While the slot moves, its new master already does a write, before a watch has subscribed
// there. The watch hears of the write when the slot has arrived.
func TestRedisWatchHearsOfWritesWhileASlotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{Prefix: "p"})
	v := taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)} // the owner has all its keys, so all of them move
	version, err := b.PutIfVersion(ctx, key, v, 0)
	require.NoError(t, err)
	channel := "p:idx:{" + key.Owner + "}"
	from := masterOf(t, cluster, channel)
	to := cluster.Masters[(slices.Index(cluster.Masters, from)+1)%len(cluster.Masters)]
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	began := false
	for c, err := range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
		require.NoError(t, err)
		if began {
			assert.True(t, c.Resync || c.Version == version+1)
			return
		}
		began = true
		move := cluster.BeginMove(t, channel, from, to)
		_, err = b.PutIfVersion(ctx, key, v, version)
		require.NoError(t, err)
		move.End()
	}
}

func shardChannels(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	channels, err := c.PubSubShardChannels(ctx, "*").Result()
	require.NoError(t, err)
	return channels
}

// In a Cluster with sharded channels, a watch uses them on the master that has the owner, and
// on no other node.
func TestRedisClusterWatchesAreSharded(t *testing.T) {
	t.Parallel()
	redistest.Need(t, redistest.ShardedChannels)
	cluster := redistest.StartCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{Prefix: "sharded"})
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var inPlace atomic.Int64
	want := make(map[*redistest.Server][]string)
	const owners = 30
	for i := range owners {
		owner := fmt.Sprint(i)
		channel := "sharded:idx:{" + owner + "}"
		master := masterOf(t, cluster, channel)
		want[master] = append(want[master], channel)
		go func() {
			for range b.Watch(watching, taskstore.Key{Owner: owner}) {
				inPlace.Add(1)
			}
		}()
	}
	require.Eventually(t, func() bool { return inPlace.Load() == owners }, 20*time.Second, time.Millisecond)
	for _, master := range cluster.Masters {
		var owned []string
		for _, channel := range shardChannels(t, master) {
			if strings.HasSuffix(channel, "}") { // the others are the links' own
				owned = append(owned, channel)
			}
		}
		assert.ElementsMatch(t, want[master], owned)
		c := redis.NewClient(&redis.Options{Addr: master.Addr()})
		defer c.Close()
		plain, err := c.PubSubChannels(ctx, "*").Result()
		require.NoError(t, err)
		assert.Empty(t, plain)
	}
	// All of them are given up at once, in many slots.
	cancel()
	for _, master := range cluster.Masters {
		require.Eventually(t, func() bool { return len(shardChannels(t, master)) == 0 }, 20*time.Second, time.Millisecond)
	}
}

// Watches of many slots that end together leave the others on their connection
// in peace.
func TestRedisClusterWatchesEndWithoutDisturbingOthers(t *testing.T) {
	b := storetest.Open(t, redistest.SharedCluster(t).URL(), taskstore.RedisOptions{})
	staying, stop := context.WithCancel(ctx)
	defer stop()
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	var inPlace, left atomic.Int64
	watch := func(ctx context.Context, owner string) {
		for c := range b.Watch(ctx, taskstore.Key{Owner: owner}) {
			if c.Resync {
				inPlace.Add(1)
			}
		}
		left.Add(1)
	}
	const owners = 30
	for i := range owners {
		go watch(staying, fmt.Sprint("stays", i))
		go watch(leaving, fmt.Sprint("leaves", i))
	}
	require.Eventually(t, func() bool { return inPlace.Load() == 2*owners }, 20*time.Second, time.Millisecond)
	leave()
	require.Eventually(t, func() bool { return left.Load() == owners }, 20*time.Second, time.Millisecond)
	for i := range owners { // in place after all that was asked before
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		for c, err := range b.Watch(ctx, taskstore.Key{Owner: fmt.Sprint("new", i)}) {
			require.NoError(t, err)
			require.True(t, c.Resync)
			break
		}
		cancel()
	}
	assert.EqualValues(t, 2*owners, inPlace.Load(), "those that stay were told to look again")
}
