//go:build integration

package integration

import (
	"context"
	"errors"
	"net"
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
)

// A forwarded server is an address that leads to one server and then to another.
// Connections stay with the server that they were made to.
type forwarded struct {
	t       *testing.T
	old     *redistest.Server // the master at first, with the new one as its replica
	new     *redistest.Server
	third   *redistest.Server // a replica of the master
	clients map[*redistest.Server]*redis.Client
	target  atomic.Pointer[redistest.Server]
}

func newForwarded(t *testing.T) *forwarded {
	f := &forwarded{t: t, old: redistest.Start(t), new: redistest.Start(t), third: redistest.Start(t)}
	f.clients = make(map[*redistest.Server]*redis.Client)
	for _, s := range []*redistest.Server{f.old, f.new, f.third} {
		f.clients[s] = admin(t, s)
	}
	f.replicate(f.new, f.old)
	f.replicate(f.third, f.old)
	f.target.Store(f.old)
	return f
}

// replicate has a server replicate another one, and waits until it does.
func (f *forwarded) replicate(replica, master *redistest.Server) {
	f.t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(f.t, err)
	require.NoError(f.t, f.clients[replica].ReplicaOf(ctx, host, port).Err())
	require.Eventually(f.t, func() bool {
		info := f.clients[replica].InfoMap(ctx, "replication").Val()["Replication"]
		return info["master_link_status"] == "up" && info["master_port"] == port
	}, 30*time.Second, 5*time.Millisecond)
}

// client returns one that takes each new connection to the present server.
func (f *forwarded) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "forwarded:6379", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, f.target.Load().Addr())
	}})
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *forwarded) backend(opts taskstore.RedisOptions) *taskstore.RedisBackend {
	b, err := taskstore.NewRedisBackend(f.client(), &opts)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = b.Close() })
	return b
}

// fill has so many connections of each pool of a backend lead to the present server.
func (f *forwarded) fill(b *taskstore.RedisBackend, owner string) {
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			k := taskstore.Key{Owner: owner, Task: strconv.Itoa(i)}
			_, err := b.Put(ctx, k, hello)
			assert.NoError(f.t, err)
			_, err = b.Get(ctx, k)
			assert.NoError(f.t, err)
			_, err = b.ListByPrefix(ctx, k)
			assert.NoError(f.t, err)
		})
	}
	all.Wait()
}

// failOver promotes the new server once it has everything, demotes the old one and
// cuts it off from it.
func (f *forwarded) failOver() {
	f.t.Helper()
	offset := func(s *redistest.Server, name string) string {
		return f.clients[s].InfoMap(ctx, "replication").Val()["Replication"][name]
	}
	require.Eventually(f.t, func() bool {
		return offset(f.old, "master_repl_offset") == offset(f.new, "slave_repl_offset")
	}, 10*time.Second, time.Millisecond)
	require.NoError(f.t, f.clients[f.new].ReplicaOf(ctx, "NO", "ONE").Err())
	f.replicate(f.third, f.new)
	require.NoError(f.t, f.clients[f.old].ReplicaOf(ctx, "127.0.0.1", "1").Err())
	f.target.Store(f.new)
}

var forwardedOptions = map[string]taskstore.RedisOptions{
	"Plain":                 {},
	"AutoPipeline":          {AutoPipeline: true},
	"MinReplicas":           {MinReplicas: 1, ReplicaTimeout: 2 * time.Second},
	"MinReplicasAndBatches": {MinReplicas: 1, ReplicaTimeout: 2 * time.Second, AutoPipeline: true},
}

// A write that was acknowledged is seen by every read after it and told to every
// watch, though the connections that those have lead to the master that was replaced.
func TestReadsAndWatchesFollowTheWritesToAnotherServer(t *testing.T) {
	for name, opts := range forwardedOptions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForwarded(t)
			b := f.backend(opts)
			f.fill(b, key.Owner)
			watching, cancel := context.WithCancel(ctx)
			var watch sync.WaitGroup
			defer watch.Wait()
			defer cancel()
			var resyncs atomic.Int64
			var latest atomic.Uint64
			watch.Go(func() {
				for c := range b.Watch(watching, key) {
					if c.Resync {
						resyncs.Add(1)
					}
					latest.Store(max(latest.Load(), uint64(c.Version)))
				}
			})
			require.Eventually(t, func() bool { return resyncs.Load() == 1 }, 20*time.Second, time.Millisecond)
			version, err := b.Put(ctx, key, hello)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return latest.Load() == uint64(version) }, 20*time.Second, time.Millisecond)
			// By now the feed knows that servers count the receivers of a message.
			f.failOver()
			write := func() {
				version, err = b.PutIfVersion(ctx, key, hello, version)
				require.NoError(t, err)
				rec, err := b.Get(ctx, key)
				require.NoError(t, err)
				require.Equal(t, version, rec.Version)
				list, err := b.ListByPrefix(ctx, key)
				require.NoError(t, err)
				require.Len(t, list, 1)
				require.Equal(t, version, list[0].Version)
			}
			for range 50 {
				write()
			}
			require.Eventually(t, func() bool { return resyncs.Load() > 1 }, 20*time.Second, time.Millisecond, "it says that it missed something")
			write()
			require.Eventually(t, func() bool { return latest.Load() == uint64(version) }, 20*time.Second, time.Millisecond)
		})
	}
}

// A master that was demoted and has not found the new one may refuse everything. Its refusal
// too says that it is a replica, and a call that gets it ends up at the new master.
func TestACallLeavesAReplicaThatHasLostItsMaster(t *testing.T) {
	for name, opts := range forwardedOptions {
		for call, do := range map[string]func(ctx context.Context, b *taskstore.RedisBackend) error{
			"Update": func(ctx context.Context, b *taskstore.RedisBackend) error {
				_, err := b.Put(ctx, key, hello)
				return err
			},
			"Get": func(ctx context.Context, b *taskstore.RedisBackend) error { _, err := b.Get(ctx, key); return err },
			"List": func(ctx context.Context, b *taskstore.RedisBackend) error {
				_, err := b.ListByPrefix(ctx, key)
				return err
			},
		} {
			t.Run(name+"/"+call, func(t *testing.T) {
				t.Parallel()
				f := newForwarded(t)
				require.NoError(t, f.clients[f.old].ConfigSet(ctx, "replica-serve-stale-data", "no").Err())
				b := f.backend(opts)
				f.fill(b, key.Owner)
				_, err := b.Put(ctx, key, hello)
				require.NoError(t, err)
				f.failOver()
				short, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				assert.NoError(t, do(short, b))
				f.target.Store(f.old)
				only := f.backend(opts)
				short, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
				if err = do(short, only); !errors.Is(err, taskstore.ErrOutcomeUnknown) { // sent when short ended
					assert.ErrorContains(t, err, "the server is a replica")
				}
			})
		}
	}
}

// A process that only reads notices too, with any method that reads.
func TestReadersNoticeThatTheirServerWasReplaced(t *testing.T) {
	type reader func(b *taskstore.RedisBackend) (taskstore.Version, error)
	for name, read := range map[string]reader{
		"Get": func(b *taskstore.RedisBackend) (taskstore.Version, error) {
			rec, err := b.Get(ctx, key)
			return rec.Version, err
		},
		"List": func(b *taskstore.RedisBackend) (taskstore.Version, error) {
			list, err := b.ListByPrefix(ctx, key)
			if len(list) == 0 {
				return 0, err
			}
			return list[0].Version, err
		},
	} {
		for kind, opts := range forwardedOptions {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				f := newForwarded(t)
				b := f.backend(opts)
				f.fill(b, key.Owner)
				_, err := b.Put(ctx, key, hello)
				require.NoError(t, err)
				f.failOver()
				other := f.backend(taskstore.RedisOptions{})
				version, err := other.Put(ctx, key, hello)
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					v, err := read(b)
					return assert.NoError(t, err) && v == version
				}, 20*time.Second, 10*time.Millisecond)
				// Its later connections lead to the new server too.
				var all sync.WaitGroup
				for range 12 {
					all.Go(func() {
						for range 20 {
							v, err := read(b)
							assert.NoError(t, err)
							assert.Equal(t, version, v)
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// The first read after a pause is not of the past: the role is asked for in its own
// round trip.
func TestTheFirstReadAfterAPauseIsOfThePresent(t *testing.T) {
	for name, opts := range forwardedOptions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForwarded(t)
			b := f.backend(opts)
			f.fill(b, key.Owner)
			_, err := b.Put(ctx, key, hello)
			require.NoError(t, err)
			f.failOver()
			other := f.backend(taskstore.RedisOptions{})
			version, err := other.Put(ctx, key, hello)
			require.NoError(t, err)
			time.Sleep(3 * time.Second) // the pause
			rec, err := b.Get(ctx, key)
			require.NoError(t, err)
			assert.Equal(t, version, rec.Version)
		})
	}
}

// Ping does not take a replica for a master, although it answers.
func TestPingOfAReplicaSaysSo(t *testing.T) {
	t.Parallel()
	f := newForwarded(t)
	f.target.Store(f.third)
	for _, opts := range forwardedOptions {
		b := f.backend(opts)
		err := b.Ping(ctx)
		assert.ErrorContains(t, err, "replica")
		assert.ErrorContains(t, err, "READONLY")
	}
	reader := f.backend(taskstore.RedisOptions{})
	require.Eventually(t, func() bool {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := reader.Get(short, key)
		return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "READONLY")
	}, 20*time.Second, 10*time.Millisecond, "reads wait for a master too, and say so")
	f.target.Store(f.old)
	_, err := reader.Get(ctx, key)
	assert.ErrorIs(t, err, taskstore.ErrNotFound, "until there is one")
	b := f.backend(taskstore.RedisOptions{})
	assert.NoError(t, b.Ping(ctx))
	require.NoError(t, f.clients[f.old].ConfigSet(ctx, "min-replicas-to-write", "5").Err())
	assert.NoError(t, b.Ping(ctx), "Ping succeeds although the server takes no writes for now")
	require.NoError(t, f.clients[f.old].ConfigSet(ctx, "min-replicas-to-write", "0").Err())
	f.failOver()
	assert.NoError(t, b.Ping(ctx), "the connection led to a replica, and a new one does not")
}
