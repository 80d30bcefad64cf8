//go:build integration

package integration

import (
	"context"
	"errors"
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
)

// restricted returns a client whose user may do everything on the server but for these rules.
func restricted(t *testing.T, server *redistest.Server, rules ...any) *redis.Client {
	t.Helper()
	for _, rule := range append([]any{"on", ">secret", "~*", "&*", "+@all"}, rules...) {
		require.NoError(t, admin(t, server).Do(ctx, "ACL", "SETUSER", "restricted", rule).Err())
	}
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "restricted", Password: "secret"})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The error names a right that is missing inside a script. If the script was stopped before it
// changed the record, the outcome is known, and the record is as it was.
func TestRightsThatAreMissingInsideScriptsAreNamed(t *testing.T) {
	server := redistest.Start(t)
	all, err := taskstore.NewRedisBackend(admin(t, server), nil)
	require.NoError(t, err)
	temporary := taskstore.Value{Data: []byte("temporary"), ExpiresAt: time.Now().Add(time.Hour)}
	gone := taskstore.Value{ExpiresAt: time.Now().Add(-time.Hour)}
	for _, command := range []string{
		"hmget", "hget", "hset", "hdel", "exists", "del", "pexpireat", "persist", "time",
		"zadd", "zrem", "zscore", "zcard", "zcount", "zrange", "zrangebyscore",
	} {
		t.Run(command, func(t *testing.T) {
			b, err := taskstore.NewRedisBackend(restricted(t, server, "-"+command), &taskstore.RedisOptions{MaxRecordsPerOwner: 3})
			require.NoError(t, err)
			refused := 0
			for _, v := range []taskstore.Value{hello, temporary} {
				for name, call := range map[string]func(k taskstore.Key) error{
					"create": func(k taskstore.Key) error { _, err := b.PutIfVersion(ctx, k, temporary, 0); return err },
					"put":    func(k taskstore.Key) error { _, err := b.Put(ctx, k, hello); return err },
					"expire": func(k taskstore.Key) error { _, err := b.Put(ctx, k, temporary); return err },
					"update": func(k taskstore.Key) error { _, err := b.PutIfVersion(ctx, k, hello, 1); return err },
					"delete": func(k taskstore.Key) error { _, err := b.Delete(ctx, k); return err },
					"batch": func(k taskstore.Key) error {
						other := taskstore.Key{Owner: k.Owner, Collection: "other", Task: k.Task}
						return b.PutBatch(ctx, []taskstore.Write{{Key: other, Value: temporary}, {Key: k, Value: gone, Expected: taskstore.AnyVersion}})
					},
					"crowded": func(k taskstore.Key) error {
						_, err := b.PutIfVersion(taskstore.WithRecordLimit(ctx, 1), k, temporary, 0)
						return err
					},
				} {
					k := taskstore.Key{Owner: command + name, Task: string(v.Data)}
					switch name {
					case "create":
					case "crowded": // by past entries, so the script counts again
						k.Owner += string(v.Data)
						for _, index := range []string{"idx", "exp"} {
							require.NoError(t, admin(t, server).ZAdd(ctx, "taskstore:"+index+":{"+k.Owner+"}", redis.Z{Score: 1, Member: "past"}).Err())
						}
					default:
						_, err := all.PutIfVersion(ctx, k, v, 0)
						require.NoError(t, err)
					}
					records := func() (found []taskstore.Record) {
						for _, collection := range []string{"", "other"} {
							r, _ := all.Get(ctx, taskstore.Key{Owner: k.Owner, Collection: collection, Task: k.Task})
							found = append(found, r)
						}
						return found
					}
					before := records()
					err := call(k)
					if err == nil {
						continue
					}
					refused++
					assert.ErrorContains(t, err, "+"+command)
					assert.NotErrorIs(t, err, context.DeadlineExceeded)
					if assert.ObjectsAreEqual(before, records()) {
						continue
					}
					assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, "%s %s changed something", name, v.Data)
				}
			}
			assert.Positive(t, refused)
			if command == "time" {
				_, err := b.Put(ctx, taskstore.Key{Owner: "new", Task: "new"}, hello)
				assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
				assert.Error(t, err)
			}
		})
	}
}

// The error names a command that was taken away from the server, as managed services do, like
// a missing right. If the script was stopped before it changed the record, the outcome is
// known, and the record is as it was.
func TestCommandsThatAreMissingInsideScriptsAreNamed(t *testing.T) {
	temporary := taskstore.Value{Data: []byte("temporary"), ExpiresAt: time.Now().Add(time.Hour)}
	for _, command := range []string{"time", "exists", "zadd", "hset", "pexpireat"} {
		t.Run(command, func(t *testing.T) {
			server := redistest.Start(t, "--rename-command", strings.ToUpper(command), "")
			for _, opts := range []taskstore.RedisOptions{{}, {AutoPipeline: true}, {MinReplicas: 1}} {
				b, err := taskstore.NewRedisBackend(admin(t, server), &opts)
				require.NoError(t, err)
				_, err = b.PutIfVersion(ctx, key, temporary, 0)
				require.ErrorContains(t, err, "the server lacks "+command)
				changed := slices.Contains([]string{"zadd", "pexpireat"}, command)
				assert.Equal(t, changed, errors.Is(err, taskstore.ErrOutcomeUnknown))
				assert.NoError(t, admin(t, server).FlushAll(ctx).Err())
			}
		})
	}
}

// The writes publish the hints, and do not report a failure to publish. So the watch ends with
// an error, on every kind of client, if the user may not publish or the server cannot.
func TestWatchesEndIfHintsCannotBePublished(t *testing.T) {
	watch := func(t *testing.T, c redis.UniversalClient, says string) {
		t.Helper()
		b, err := taskstore.NewRedisBackend(c, nil)
		require.NoError(t, err)
		defer b.Close()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		var last error
		for _, last = range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
		}
		assert.ErrorContains(t, last, says)
		assert.NotErrorIs(t, last, context.DeadlineExceeded)
	}
	t.Run("NoRight", func(t *testing.T) {
		t.Parallel()
		watch(t, restricted(t, redistest.Start(t), "-publish"), "NOPERM")
	})
	t.Run("NoCommand", func(t *testing.T) {
		t.Parallel()
		watch(t, admin(t, redistest.Start(t, "--rename-command", "PUBLISH", "")), "unknown command")
	})
	for name, rules := range map[string][]any{
		"ClusterNoRight": {"-spublish"},
		// A server without sharded channels has the ordinary ones.
		"ClusterNoRightAtAll": {"-publish", "-spublish"},
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Need(t, redistest.ShardedChannels)
			t.Parallel()
			server := redistest.StartClusterOfOne(t)
			restricted(t, server, rules...)
			c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, Username: "restricted", Password: "secret"})
			defer c.Close()
			watch(t, c, "NOPERM")
		})
	}
	t.Run("ClusterWithoutShardedChannels", func(t *testing.T) {
		t.Parallel()
		server := redistest.StartClusterOfOne(t, withoutShardedChannels(t)...)
		restricted(t, server, "-publish")
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, Username: "restricted", Password: "secret"})
		defer c.Close()
		watch(t, c, "NOPERM")
	})
	t.Run("ClusterNoRightToAskForSlots", func(t *testing.T) {
		t.Parallel()
		server := redistest.StartClusterOfOne(t)
		restricted(t, server, "-cluster")
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, Username: "restricted", Password: "secret"})
		defer c.Close()
		watch(t, c, "NOPERM")
	})
}

// A password is changed on the server a moment before the program learns of it. Calls
// and watches ride that out.
func TestALatePasswordIsRiddenOut(t *testing.T) {
	var kinds = map[string]func(t *testing.T, credentials func() (string, string)) (redis.UniversalClient, *redistest.Server){
		"Server": func(t *testing.T, credentials func() (string, string)) (redis.UniversalClient, *redistest.Server) {
			server := redistest.Start(t)
			restricted(t, server)
			return redis.NewClient(&redis.Options{Addr: server.Addr(), CredentialsProvider: credentials}), server
		},
		"Cluster": func(t *testing.T, credentials func() (string, string)) (redis.UniversalClient, *redistest.Server) {
			server := redistest.StartClusterOfOne(t)
			restricted(t, server)
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, CredentialsProvider: credentials}), server
		},
	}
	for name, opts := range map[string]taskstore.RedisOptions{
		"Server": {}, "ServerWithBatches": {AutoPipeline: true}, "ServerWithReplicas": {MinReplicas: 1},
		"Cluster": {}, "ClusterWithBatches": {AutoPipeline: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, _, _ := strings.Cut(name, "With")
			open := kinds[kind]
			var password atomic.Pointer[string]
			old, changed := "secret", "changed"
			password.Store(&old)
			client, server := open(t, func() (string, string) { return "restricted", *password.Load() })
			defer client.Close()
			b, err := taskstore.NewRedisBackend(client, &opts)
			require.NoError(t, err)
			defer b.Close()
			if opts.MinReplicas > 0 {
				replica := redistest.Start(t)
				host, port, err := net.SplitHostPort(server.Addr())
				require.NoError(t, err)
				require.NoError(t, admin(t, replica).ReplicaOf(ctx, host, port).Err())
				awaitReplicas(t, b)
			}
			watching, cancel := context.WithCancel(ctx)
			defer cancel()
			var resyncs, ended atomic.Int64
			go func() {
				for c, err := range b.Watch(watching, taskstore.Key{Owner: key.Owner}) {
					if err != nil && watching.Err() == nil {
						ended.Add(1)
					}
					if c.Resync {
						resyncs.Add(1)
					}
				}
			}()
			require.Eventually(t, func() bool { return resyncs.Load() == 1 }, 20*time.Second, time.Millisecond)
			_, err = b.Put(ctx, key, hello)
			require.NoError(t, err)
			c := admin(t, server)
			require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "restricted", "resetpass", ">changed").Err())
			require.NoError(t, c.Do(ctx, "CLIENT", "KILL", "USER", "restricted").Err())
			rejected := func() bool {
				log, err := c.ACLLog(ctx, 100).Result()
				require.NoError(t, err)
				n := 0
				for _, entry := range log {
					if entry.Reason == "auth" {
						n += int(entry.Count)
					}
				}
				return n >= 3
			}
			late := make(chan struct{})
			go func() {
				defer close(late)
				assert.Eventually(t, rejected, 20*time.Second, 10*time.Millisecond)
				time.Sleep(time.Second)
				password.Store(&changed)
			}()
			_, err = b.Put(ctx, key, hello)
			assert.NoError(t, err)
			_, err = b.Get(ctx, key)
			assert.NoError(t, err)
			require.Eventually(t, func() bool { return resyncs.Load() > 1 }, 20*time.Second, time.Millisecond)
			assert.Zero(t, ended.Load())
			<-late
		})
	}
}

// In the end calls and watches report a password that stays wrong.
func TestAPasswordThatStaysWrongEndsCallsAndWatches(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	restricted(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "restricted", Password: "wrong"})
	defer client.Close()
	var all sync.WaitGroup
	for _, opts := range []taskstore.RedisOptions{{}, {AutoPipeline: true}, {MinReplicas: 1}} {
		b, err := taskstore.NewRedisBackend(client, &opts)
		require.NoError(t, err)
		for name, call := range map[string]func() error{
			"Watch": func() (last error) {
				for _, last = range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
				}
				return last
			},
			"Get":    func() error { _, err := b.Get(ctx, key); return err },
			"Put":    func() error { _, err := b.Put(ctx, key, hello); return err },
			"Delete": func() error { _, err := b.Delete(ctx, key); return err },
			"List":   func() error { _, err := b.ListByPrefix(ctx, key); return err },
			"Now":    func() error { _, err := b.Now(ctx); return err },
		} {
			for range 8 { // which make a batch
				all.Go(func() {
					err := call()
					assert.ErrorContains(t, err, "WRONGPASS", "%s %+v", name, opts)
					assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, "%s %+v", name, opts)
				})
			}
		}
	}
	all.Wait()
}

// A client for one server may meet one of many: the call says so at once.
func TestAPlainClientOnANodeOfAClusterIsToldAtOnce(t *testing.T) {
	t.Parallel()
	cluster := redistest.SharedCluster(t)
	for _, opts := range []taskstore.RedisOptions{{}, {AutoPipeline: true}} {
		c := redis.NewClient(&redis.Options{Addr: cluster.Addrs()[0]})
		defer c.Close()
		b, err := taskstore.NewRedisBackend(c, &opts)
		require.NoError(t, err)
		elsewhere := taskstore.Key{Task: "task"}
		for i := 'a'; elsewhere.Owner == ""; i++ {
			if owner := string(i); masterOf(t, cluster, "taskstore:idx:{"+owner+"}") != cluster.Masters[0] {
				elsewhere.Owner = owner
			}
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		told := func(err error) {
			t.Helper()
			assert.ErrorContains(t, err, "Cluster client, or OpenRedis")
			assert.ErrorContains(t, err, "MOVED")
			assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			assert.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err = b.Get(ctx, elsewhere)
		told(err)
		_, err = b.Put(ctx, elsewhere, hello)
		told(err)
		_, err = b.PutIfVersion(ctx, elsewhere, hello, 0)
		told(err)
		_, err = b.Delete(ctx, elsewhere)
		told(err)
		_, err = b.ListByPrefix(ctx, elsewhere)
		told(err)
		findings, err := b.Check(ctx)
		require.NoError(t, err)
		var all strings.Builder
		for _, f := range findings {
			all.WriteString(f.String() + "\n")
		}
		assert.Contains(t, all.String(), "use a Cluster client, or OpenRedis")
	}
}
