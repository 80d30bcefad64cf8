//go:build integration

package integration

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net"
	"slices"
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

// hostile returns a random name of bytes that mean something somewhere.
func hostile(r *rand.Rand) string {
	const bytes = "{}:%+ \x00\xff\xfe\r\n*?[]\\\"'aé"
	b := make([]byte, 1+r.IntN(20))
	for i := range b {
		b[i] = bytes[r.IntN(len(bytes))]
	}
	return string(b)
}

// Every verb works in a Cluster for any owner and any task: a script's keys all lie in one
// slot.
func TestRedisClusterTakesAnyOwner(t *testing.T) {
	b := storetest.Open(t, redistest.SharedCluster(t).URL(), taskstore.RedisOptions{MaxRecordsPerOwner: 3})
	const owners, workers = 1000, 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for n := w; n < owners; n += workers {
				// The random part may come twice; together with n it does not.
				owner := hostile(r) + string(rune('a'+n%26)) + hostile(r) + string(rune(n))
				k := taskstore.Key{Owner: owner, Task: hostile(r)}
				other := taskstore.Key{Owner: owner, Task: k.Task + hostile(r)}
				if !everyVerb(t, b, k, other) {
					t.Errorf("with owner %q, tasks %q and %q", owner, k.Task, other.Task)
					return
				}
			}
		})
	}
	wg.Wait()
}

func everyVerb(t *testing.T, b *taskstore.RedisBackend, k, other taskstore.Key) bool {
	ok := true
	check := func(err error) { ok = assert.NoError(t, err) && ok }
	v, err := b.PutIfVersion(ctx, k, hello, 0)
	check(err)
	v, err = b.PutIfVersion(ctx, k, taskstore.Value{Data: []byte(k.Task), ExpiresAt: time.Now().Add(time.Hour)}, v)
	check(err)
	_, err = b.Put(ctx, other, hello)
	check(err)
	got, err := b.Get(ctx, k)
	check(err)
	ok = assert.Equal(t, k.Task, string(got.Data)) && assert.Equal(t, v, got.Version) && ok
	list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: k.Owner, Task: k.Task})
	check(err)
	ok = assert.Len(t, list, 2) && ok
	page, cursor, err := b.ListPage(ctx, taskstore.Key{Owner: k.Owner}, "", 1)
	check(err)
	ok = assert.Len(t, page, 1) && assert.NotEmpty(t, cursor) && ok
	existed, err := b.Delete(ctx, k)
	check(err)
	return assert.True(t, existed) && ok
}

// The keys of an owner lie in one slot, those of many owners on all masters.
func TestRedisClusterSpreadsOwners(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{Prefix: "spread"})
	for i := range 100 {
		_, err := b.Put(ctx, taskstore.Key{Owner: "o" + string(rune('a'+i)), Task: "t"}, hello)
		require.NoError(t, err)
	}
	for _, m := range cluster.Masters {
		c := redis.NewClient(&redis.Options{Addr: m.Addr()})
		defer c.Close()
		keys, err := c.Keys(ctx, "spread:*").Result()
		require.NoError(t, err)
		assert.NotEmpty(t, keys, "on one of the masters")
	}
}

// One address of a Cluster is enough: the server says that it belongs to one.
func TestOpenRedisRecognisesACluster(t *testing.T) {
	server := redistest.StartClusterOfOne(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	for _, owner := range []string{"{a}{b}", "{", "}", "{}", ":"} {
		assert.True(t, everyVerb(t, b, taskstore.Key{Owner: owner, Task: "{"}, taskstore.Key{Owner: owner, Task: "{}"}))
	}
	one := storetest.Open(t, redistest.SharedCluster(t).Masters[1].URL(), taskstore.RedisOptions{})
	for i := range 50 {
		_, err := one.Put(ctx, taskstore.Key{Owner: "o" + string(rune('a'+i)), Task: "t"}, hello)
		require.NoError(t, err, "an owner of another node")
	}
}

// The test watches scripts on a real server: they touch the keys that they declared and no
// other.
func TestRedisScriptsTouchOnlyDeclaredKeys(t *testing.T) {
	server := redistest.Start(t)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{MaxRecordsPerOwner: 100})
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	monitor, err := net.Dial("tcp", server.Addr())
	require.NoError(t, err)
	defer monitor.Close()
	require.NoError(t, monitor.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = monitor.Write([]byte("MONITOR\r\n"))
	require.NoError(t, err)
	lines := bufio.NewScanner(monitor)
	require.True(t, lines.Scan(), "the server says OK")

	o := func(task string) taskstore.Key { return taskstore.Key{Owner: "owner", Task: task} }
	_, err = b.Put(ctx, o("a"), hello)
	require.NoError(t, err)
	_, err = b.Put(ctx, o("a"), taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	_, err = b.PutIfVersion(ctx, o("a"), hello, 2)
	require.NoError(t, err)
	_, err = b.Put(ctx, o("b"), taskstore.Value{ExpiresAt: time.Now().Add(time.Millisecond)})
	require.NoError(t, err)
	_, err = b.Put(ctx, o("c"), taskstore.Value{ExpiresAt: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := b.Get(ctx, o("b")); return err != nil }, 5*time.Second, time.Millisecond)
	_, err = b.ListByPrefix(ctx, o("")) // repairs
	require.NoError(t, err)
	_, err = b.Delete(ctx, o("a"))
	require.NoError(t, err)
	require.NoError(t, b.PutBatch(ctx, []taskstore.Write{
		{Key: o("a"), Value: lasts}, {Key: taskstore.Key{Owner: "owner", Collection: "other", Task: "a"}, Value: hello}, {Key: o("b"), Value: gone, Expected: taskstore.AnyVersion},
	}))
	_, err = b.Now(ctx)
	require.NoError(t, err)
	c.Echo(ctx, "the end")

	var declared []string
	scripts := map[string]bool{}
	calls := 0
	ended := false
	for !ended && lines.Scan() {
		line := lines.Text()
		if ended = strings.Contains(line, `"the end"`); ended {
			break
		}
		words := strings.Split(line, `"`)
		if len(words) < 4 {
			continue
		}
		command := strings.ToLower(words[1])
		switch {
		case strings.Contains(words[0], " lua]"):
			if command != "time" {
				calls++
				assert.Contains(t, declared, words[3], "%s touches a key that was not declared", command)
			}
		case command == "evalsha" || command == "eval":
			scripts[words[3]] = true
			declared = nil
			for n := int(words[5][0] - '0'); n > 0; n-- {
				declared = append(declared, words[7+2*len(declared)])
			}
		}
	}
	require.True(t, ended, "the monitor saw everything: %v", lines.Err())
	assert.GreaterOrEqual(t, len(scripts), 5, "all scripts were seen")
	assert.Greater(t, calls, 50)
}

// A Cluster of servers without sharded channels still gives hints.
func TestRedisClusterWithoutShardedChannels(t *testing.T) {
	server := redistest.StartClusterOfOne(t, withoutShardedChannels(t)...)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var got []taskstore.Change
	for c, err := range b.Watch(ctx, taskstore.Key{Owner: "owner"}) {
		require.NoError(t, err)
		got = append(got, c)
		if !c.Resync {
			break
		}
		_, err := b.Put(ctx, key, hello)
		require.NoError(t, err)
	}
	assert.True(t, got[0].Resync)
	assert.True(t, slices.ContainsFunc(got, func(c taskstore.Change) bool { return c.Key == key }))
}

// A call whose master hangs goes to the replica that was promoted in its place as soon as its
// first attempt is over. The client may ask the node that hangs for the slots, so this holds
// for most clients, not for each.
func TestRedisClusterCallsMeetAHungMasterOnce(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	cluster := redistest.StartCluster(t)
	key := taskstore.Key{Owner: "o", Task: "t"}
	backends := make([]*taskstore.RedisBackend, 3)
	for i := range backends {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ReadTimeout: timeout, ContextTimeoutEnabled: i > 0})
		t.Cleanup(func() { _ = client.Close() })
		b, err := taskstore.NewRedisBackend(client, nil)
		require.NoError(t, err)
		_, err = b.Put(ctx, key, text("x")) // it knows the master
		require.NoError(t, err)
		backends[i] = b
	}
	hung := masterOf(t, cluster, "{o}")
	hung.Suspend()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(cluster.Replicas, func(s *redistest.Server) bool {
			role, err := admin(t, s).Do(ctx, "role").Slice()
			return err == nil && role[0] == "master"
		})
	}, 30*time.Second, 50*time.Millisecond)
	var served atomic.Int64
	var wg sync.WaitGroup
	for _, b := range backends {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*timeout)
			defer cancel()
			if _, err := b.Get(ctx, key); err == nil {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	assert.NotZero(t, served.Load())
}

// withoutShardedChannels returns the arguments that take sharded channels from a server of any
// version.
func withoutShardedChannels(t *testing.T) []string {
	t.Helper()
	version, err := redistest.ServerVersion()
	require.NoError(t, err)
	if !version.AtLeast(7, 0) {
		return nil
	}
	return []string{"--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", ""}
}
