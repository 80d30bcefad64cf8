//go:build integration

package integration

import (
	"context"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// walkOwners returns how often each owner was yielded.
func walkOwners(t *testing.T, b *taskstore.RedisBackend) map[string]int {
	t.Helper()
	times := make(map[string]int)
	for owner, err := range b.Owners(ctx) {
		require.NoError(t, err)
		times[owner]++
	}
	return times
}

// putOwners gives each of so many owners a record.
func putOwners(t *testing.T, b *taskstore.RedisBackend, count int) {
	t.Helper()
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for n := w; n < count; n += 16 {
				_, err := b.Put(ctx, taskstore.Key{Owner: strconv.Itoa(n), Task: "t"}, taskstore.Value{})
				assert.NoError(t, err)
			}
		})
	}
	writers.Wait()
}

func TestOwnersAreThoseOfThePrefixAndNoOthers(t *testing.T) {
	storetest.OnEachTopology(t, func(t *testing.T, url string) {
		b := storetest.Open(t, url, taskstore.RedisOptions{Prefix: "a*[b]?:idx"})
		for _, prefix := range []string{"axb:idx", "a*[b]?", "a*[b]?:idx:idx"} {
			other := storetest.Open(t, url, taskstore.RedisOptions{Prefix: prefix})
			_, err := other.Put(ctx, taskstore.Key{Owner: "other", Task: "t"}, taskstore.Value{})
			require.NoError(t, err)
		}
		putOwners(t, b, 50)
		times := walkOwners(t, b)
		assert.Len(t, times, 50)
		for owner, n := range times {
			assert.Equal(t, 1, n, owner)
		}
	})
}

// brokenScan has the connection break at the second SCAN, once.
type brokenScan struct {
	scans atomic.Int32
	from  []any // the cursors
}

func (*brokenScan) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*brokenScan) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *brokenScan) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "scan" {
			return next(ctx, cmd)
		}
		b.from = append(b.from, cmd.Args()[1])
		if b.scans.Add(1) == 2 {
			cmd.SetErr(io.EOF)
			return io.EOF
		}
		return next(ctx, cmd)
	}
}

// After a connection breaks, the client may reach another server. So the walk begins anew, and
// yields each owner once.
func TestAWalkOverOwnersOutlivesAConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := admin(t, server)
	hook := new(brokenScan)
	client.AddHook(hook)
	b, err := taskstore.NewRedisBackend(client, nil)
	require.NoError(t, err)
	putOwners(t, b, 3000)
	times := walkOwners(t, b)
	assert.Len(t, times, 3000)
	for owner, n := range times {
		require.Equal(t, 1, n, owner)
	}
	keys, err := client.DBSize(ctx).Result()
	require.NoError(t, err)
	require.Greater(t, len(hook.from), 3)
	assert.NotEqual(t, uint64(0), hook.from[1])
	assert.Equal(t, uint64(0), hook.from[2], "it began anew")
	assert.Less(t, int64(len(hook.from)), keys/1000+10, "a thousand keys a trip")
}

func TestOwnersSayWhichRightTheyNeed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	grant(t, server, readmeACL(t)[:1])
	b := storetest.Open(t, "redis://taskstore:secret@"+server.Addr(), taskstore.RedisOptions{Prefix: "taskstore"})
	_, err := b.Put(ctx, taskstore.Key{Owner: "alice", Task: "t"}, taskstore.Value{})
	require.NoError(t, err)
	for _, err := range b.Owners(ctx) {
		require.ErrorContains(t, err, "'scan'")
	}
	require.NoError(t, admin(t, server).Do(ctx, "ACL", "SETUSER", "taskstore", "+scan").Err())
	assert.Equal(t, map[string]int{"alice": 1}, walkOwners(t, b))
}
