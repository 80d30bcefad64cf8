//go:build integration

package integration

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A call does not outlast its ctx, even if the client still waits: the client's own timeouts
// of seconds play no part.
func TestCallsEndWithTheirContextWithoutAnswers(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.proxy.Set(faultproxy.Faults{BlackHole: 1})
		defer r.proxy.Set(faultproxy.Faults{}) // closing a client waits for its pipelines
		verbs := map[string]func(ctx context.Context) error{
			"Get":          func(ctx context.Context) error { _, err := r.mine.Get(ctx, r.key); return err },
			"Put":          func(ctx context.Context) error { _, err := r.mine.Put(ctx, r.key, text("x")); return err },
			"PutIfVersion": func(ctx context.Context) error { _, err := r.mine.PutIfVersion(ctx, r.key, text("x"), 1); return err },
			"Delete":       func(ctx context.Context) error { _, err := r.mine.Delete(ctx, r.key); return err },
			"ListByPrefix": func(ctx context.Context) error { _, err := r.mine.ListByPrefix(ctx, r.key); return err },
			"Ping":         r.mine.Ping,
		}
		var late []time.Duration
		for range 10 {
			for verb, call := range verbs {
				short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				end, _ := short.Deadline()
				err := call(short)
				late = append(late, time.Since(end))
				assert.ErrorIs(r.t, err, context.DeadlineExceeded, verb)
				cancel()

				short, cancel = context.WithCancel(ctx)
				end = time.Now().Add(10 * time.Millisecond)
				time.AfterFunc(time.Until(end), cancel)
				err = call(short)
				late = append(late, time.Since(end))
				assert.ErrorIs(r.t, err, context.Canceled, verb)
			}
		}
		slices.Sort(late)
		r.t.Logf("later than its ctx: p50 %v, p99 %v, most %v", late[len(late)/2], late[len(late)*99/100], late[len(late)-1])
		assert.Less(r.t, late[len(late)-1], 2*time.Second, "the client's timeouts are 3 seconds and more")
	})
}

// A write that reached no server says so: its outcome is known.
func TestUnsentWritesSaySo(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := dead.Addr().String()
	require.NoError(t, dead.Close())
	for name, client := range map[string]redis.UniversalClient{
		"Server":   redis.NewClient(&redis.Options{Addr: addr}),
		"Sentinel": redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}}),
		"Cluster":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}}),
		"NoPool":   redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr(), PoolSize: 1, PoolTimeout: 50 * time.Millisecond}),
	} {
		for _, opts := range []taskstore.RedisOptions{{}, {MinReplicas: 1}} {
			if name == "NoPool" && opts.MinReplicas > 0 {
				continue // pipelines have connections of their own
			}
			t.Run(name+"/"+strconv.Itoa(opts.MinReplicas), func(t *testing.T) {
				if name == "NoPool" { // its only connection is taken
					taken := client.(*redis.Client).Conn()
					require.NoError(t, taken.Ping(ctx).Err())
					defer taken.Close()
				}
				b, err := taskstore.NewRedisBackend(client, &opts)
				require.NoError(t, err)
				short, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
				defer cancel()
				_, err = b.PutIfVersion(short, key, hello, 0)
				assert.ErrorIs(t, err, context.DeadlineExceeded, "it retries until then")
				assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
			})
		}
	}
}
