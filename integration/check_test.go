//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// healthy are the arguments of a server as it should be.
var healthy = []string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "200mb", "--maxmemory-policy", "noeviction"}

func check(t *testing.T, b *taskstore.RedisBackend) []taskstore.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	findings, err := b.Check(ctx)
	require.NoError(t, err)
	return findings
}

// admin returns a client that may do everything.
func admin(t *testing.T, server *redistest.Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// startWholeCluster starts a healthy Cluster, and waits until each node tells of all. A node
// leaves out a replica that has not loaded its data yet.
func startWholeCluster(t *testing.T) *redistest.Cluster {
	t.Helper()
	redistest.Need(t, redistest.ShardedChannels) // Check reports their absence
	cluster := redistest.StartCluster(t, healthy...)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{})
	for n := range 20 {
		_, err := b.Put(ctx, taskstore.Key{Owner: strconv.Itoa(n), Task: "t"}, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
	}
	for _, node := range slices.Concat(cluster.Masters, cluster.Replicas) {
		c := admin(t, node)
		require.Eventually(t, func() bool {
			slots, err := c.Do(ctx, "CLUSTER", "SLOTS").Slice()
			return err == nil && len(slots) == 3 && !slices.ContainsFunc(slots, func(s any) bool { return len(s.([]any)) != 4 }) // first, last, master, replica
		}, 20*time.Second, 5*time.Millisecond)
	}
	return cluster
}

func TestCheckReportsHealthyServersWithoutFindings(t *testing.T) {
	t.Parallel()
	t.Run("OneServer", func(t *testing.T) {
		b := storetest.Open(t, redistest.Start(t, healthy...).URL(), taskstore.RedisOptions{})
		assert.Empty(t, check(t, b))
	})
	t.Run("Sentinel", func(t *testing.T) {
		b := storetest.Open(t, redistest.StartSentinel(t, healthy...).URL(), taskstore.RedisOptions{MinReplicas: 2})
		assert.Empty(t, check(t, b))
	})
	// Such a client treats the servers behind Sentinels as a Cluster of one master.
	t.Run("SentinelAsCluster", func(t *testing.T) {
		redistest.Need(t, redistest.ShardedChannels) // Check reports their absence
		s := redistest.StartSentinel(t, healthy...)
		c := redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs()})
		defer c.Close()
		b, err := taskstore.NewRedisBackend(c, nil)
		require.NoError(t, err)
		assert.Empty(t, check(t, b))
	})
	t.Run("Cluster", func(t *testing.T) {
		b := storetest.Open(t, startWholeCluster(t).URL(), taskstore.RedisOptions{MinReplicas: 1})
		assert.Empty(t, check(t, b))
	})
}

func TestCheckFindsWrongSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args     []string
		opts     taskstore.RedisOptions
		says     string
		unknown  bool
		unusable bool
	}{
		"Eviction":       {args: []string{"--maxmemory-policy", "allkeys-lru"}, says: "maxmemory-policy is allkeys-lru"},
		"NoPersistence":  {args: []string{"--appendonly", "no", "--save", ""}, says: "appendonly is no, and save is empty"},
		"SnapshotsOnly":  {args: []string{"--appendonly", "no", "--save", "3600", "1"}, says: "save is 3600 1"},
		"FsyncLater":     {args: []string{"--appendfsync", "everysec"}, says: "appendfsync is everysec"},
		"NoFsync":        {args: []string{"--appendfsync", "no"}, says: "appendfsync is no"},
		"ConfigRefused":  {args: []string{"--rename-command", "CONFIG", ""}, says: "appendfsync is unknown", unknown: true},
		"NoReplicas":     {opts: taskstore.RedisOptions{MinReplicas: 1}, says: "replicas in sync: 0, MinReplicas: 1", unusable: true},
		"CommandMissing": {args: []string{"--rename-command", "ZCOUNT", ""}, says: "the server lacks zcount", unusable: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, slices.Concat(healthy, c.args)...)
			findings := check(t, storetest.Open(t, server.URL(), c.opts))
			require.Len(t, findings, 1)
			assert.Contains(t, findings[0].String(), c.says)
			assert.Equal(t, c.unknown, findings[0].Unknown)
			assert.Equal(t, c.unusable, findings[0].Unusable)
			assert.Empty(t, findings[0].Node)
			assert.Zero(t, admin(t, server).DBSize(ctx).Val(), "Check leaves no key")
		})
	}
	t.Run("Replica", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t, healthy...)
		b, err := taskstore.NewRedisBackend(admin(t, sentinel.Replicas[0]), nil)
		require.NoError(t, err)
		findings := check(t, b)
		require.Len(t, findings, 1)
		assert.Contains(t, findings[0].String(), "the server is a replica")
	})
	t.Run("NoShardedChannels", func(t *testing.T) {
		server := redistest.StartClusterOfOne(t, slices.Concat(healthy, withoutShardedChannels(t))...)
		findings := check(t, storetest.Open(t, server.URL(), taskstore.RedisOptions{}))
		require.Len(t, findings, 1)
		assert.Contains(t, findings[0].String(), "no sharded channels")
	})
}

// In a Cluster a finding names the node that it is about, a master or a replica.
func TestCheckNamesTheNode(t *testing.T) {
	t.Parallel()
	cluster := startWholeCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{MinReplicas: 1})
	for name, node := range map[string]*redistest.Server{"Master": cluster.Masters[1], "Replica": cluster.Replicas[2]} {
		t.Run(name, func(t *testing.T) {
			c := admin(t, node)
			require.NoError(t, c.ConfigSet(ctx, "maxmemory-policy", "allkeys-lru").Err())
			require.NoError(t, c.ConfigSet(ctx, "appendfsync", "no").Err())
			require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "default", "-zrem", "-exists").Err())
			findings := check(t, b)
			require.Len(t, findings, 3)
			for _, f := range findings {
				assert.Equal(t, node.Addr(), f.Node)
			}
			require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "default", "+@all").Err())
			require.NoError(t, c.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err())
			require.NoError(t, c.ConfigSet(ctx, "appendfsync", "always").Err())
			assert.Empty(t, check(t, b))
		})
	}
	t.Run("ReplicaIsGone", func(t *testing.T) {
		cluster.Replicas[0].Kill()
		require.Eventually(t, func() bool {
			return strings.Contains(admin(t, cluster.Masters[0]).Info(ctx, "replication").Val(), "connected_slaves:0")
		},
			20*time.Second, time.Millisecond)
		findings := check(t, b)
		require.Len(t, findings, 2)
		for _, f := range findings {
			switch f.Node {
			case cluster.Masters[0].Addr():
				assert.Equal(t, "replicas in sync: 0, MinReplicas: 1", f.Setting)
			case cluster.Replicas[0].Addr():
				assert.Contains(t, f.Setting, "does not answer")
				assert.True(t, f.Unknown)
			default:
				t.Errorf("a finding about another node: %s", f)
			}
		}
	})
	t.Run("MasterIsGone", func(t *testing.T) {
		cluster.Masters[0].Kill()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := b.Check(ctx)
		assert.Error(t, err)
	})
}

// ahead shows the clock of one node as if it were.
type ahead struct{ by time.Duration }

func (ahead) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a ahead) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.TimeCmd); ok && err == nil {
			c.SetVal(c.Val().Add(a.by))
		}
		return err
	}
}

func (ahead) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestCheckFindsAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	cluster := startWholeCluster(t)
	for by, found := range map[time.Duration]bool{5 * time.Second: true, -5 * time.Second: true, 10 * time.Millisecond: false} {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
		defer client.Close()
		wrong := slices.Max(cluster.Addrs()) // the others are compared with the first in order
		client.OnNewNode(func(node *redis.Client) {
			if node.Options().Addr == wrong {
				node.AddHook(ahead{by})
			}
		})
		b, err := taskstore.NewRedisBackend(client, nil)
		require.NoError(t, err)
		findings := check(t, b)
		if !found {
			assert.Empty(t, findings)
			continue
		}
		require.Len(t, findings, 1)
		assert.Equal(t, wrong, findings[0].Node)
		assert.Contains(t, findings[0].Setting, "its clock differs by")
	}
}

// Check returns an error if the server does not answer, and keeps to its ctx.
func TestCheckOfAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, healthy...)
	b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
	server.Suspend()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := b.Check(short)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	server.Kill()
	_, err = b.Check(ctx)
	assert.Error(t, err)
	require.NoError(t, b.Close())
	_, err = b.Check(ctx)
	assert.ErrorIs(t, err, taskstore.ErrClosed)
}

// Under the recipe Check asks all but the configuration.
func TestCheckUnderTheACLRecipe(t *testing.T) {
	t.Parallel()
	configuration := func(t *testing.T, findings []taskstore.Finding, nodes int) {
		assert.Len(t, findings, nodes)
		for _, f := range findings {
			assert.Equal(t, "appendfsync is unknown", f.Setting)
			assert.True(t, f.Unknown)
		}
	}
	t.Run("OneServer", func(t *testing.T) {
		server := redistest.Start(t, healthy...)
		grant(t, server, readmeACL(t)[:1])
		b := storetest.Open(t, "redis://taskstore:secret@"+server.Addr(), taskstore.RedisOptions{Prefix: "taskstore:app"})
		configuration(t, check(t, b), 1)
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := startWholeCluster(t)
		nodes := append(cluster.Masters, cluster.Replicas...)
		for _, node := range nodes {
			grant(t, node, readmeACL(t))
			require.NoError(t, admin(t, node).Do(ctx, "ACL", "SETUSER", "taskstore", "+cluster|nodes").Err())
		}
		url := strings.Replace(cluster.URL(), "redis://", "redis://taskstore:secret@", 1)
		configuration(t, check(t, storetest.Open(t, url, taskstore.RedisOptions{Prefix: "taskstore"})), len(nodes))
	})
}

// Check finds and names a missing right, even if only a script uses it. It leaves no key
// behind.
func TestCheckNamesTheRightThatIsMissing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, healthy...)
	cluster := redistest.StartClusterOfOne(t, healthy...)
	grant(t, server, readmeACL(t)[:1])
	grant(t, cluster, readmeACL(t))
	require.NoError(t, admin(t, cluster).Do(ctx, "ACL", "SETUSER", "taskstore", "+cluster|nodes").Err())
	one := storetest.Open(t, "redis://taskstore:secret@"+server.Addr(), taskstore.RedisOptions{Prefix: "taskstore"})
	many := storetest.Open(t, "redis://taskstore:secret@"+cluster.Addr(), taskstore.RedisOptions{Prefix: "taskstore"})
	for i, recipe := range readmeACL(t) {
		for _, rule := range recipe {
			command, isCommand := strings.CutPrefix(rule.(string), "+")
			if !isCommand || command == "hello" { // which the connection is opened with
				continue
			}
			t.Run(command, func(t *testing.T) {
				asked, b := server, one
				if i == 1 {
					redistest.Need(t, redistest.ShardedChannels) // Check reports their absence
					asked, b = cluster, many
				}
				c := admin(t, asked)
				require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", "+config|get", "-"+command).Err())
				findings := check(t, b)
				require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", "+"+command).Err())
				require.Len(t, findings, 1)
				if command == "info" {
					assert.Equal(t, "INFO is refused", findings[0].Setting)
					return
				}
				if command == "cluster|nodes" {
					assert.Equal(t, "CLUSTER NODES is refused", findings[0].Setting)
					return
				}
				assert.Equal(t, "the user may not run "+command, findings[0].Setting)
				assert.Equal(t, "grant +"+command, findings[0].Remedy)
				assert.False(t, findings[0].Unknown)
				assert.Zero(t, c.DBSize(ctx).Val(), "Check leaves no key")
			})
		}
	}
	for rule, setting := range map[string]string{
		"resetkeys":     "the user may not read and write all keys taskstore:*",
		"resetchannels": "the user may not use all channels taskstore:*",
	} {
		t.Run(rule, func(t *testing.T) {
			c := admin(t, server)
			require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", "+config|get", rule).Err())
			findings := check(t, one)
			grant(t, server, readmeACL(t)[:1])
			require.Len(t, findings, 1)
			assert.Equal(t, setting, findings[0].Setting)
		})
	}
}

// A move of a slot that has begun and not ended is found on both nodes.
func TestCheckFindsAMoveThatHasNotEnded(t *testing.T) {
	t.Parallel()
	cluster := startWholeCluster(t)
	b := storetest.Open(t, cluster.URL(), taskstore.RedisOptions{Prefix: "p"})
	channel := "p:idx:{" + key.Owner + "}"
	from := masterOf(t, cluster, channel)
	to := cluster.Masters[(slices.Index(cluster.Masters, from)+1)%len(cluster.Masters)]
	slot, err := admin(t, from).ClusterKeySlot(ctx, channel).Result()
	require.NoError(t, err)
	require.Empty(t, check(t, b))
	move := cluster.BeginMove(t, channel, from, to)
	findings := check(t, b)
	require.Len(t, findings, 2)
	for _, f := range findings {
		assert.Contains(t, f.Setting, fmt.Sprint(slot))
		assert.Contains(t, []string{from.Addr(), to.Addr()}, f.Node)
	}
	move.End()
	assert.Empty(t, check(t, b))
}
