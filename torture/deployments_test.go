//go:build integration

package torture

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// An open opens a client of some deployment of Redis. The client dials with dial, or in
// the usual way if that is nil.
type open func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient

// The clients have the settings that OpenRedis gives them.

func toServer(s *redistest.Server) open {
	return func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: s.Addr(), Dialer: dial, ContextTimeoutEnabled: true})
	}
}

func toCluster(addrs ...string) open {
	return func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: dial, ContextTimeoutEnabled: true})
	}
}

func toSentinel(s *redistest.Sentinel) open {
	return func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: s.MasterName, SentinelAddrs: s.Addrs(), Dialer: dial, ContextTimeoutEnabled: true,
		})
	}
}

// A deployment is a way to run Redis.
type deployment struct {
	name string
	open func(t *testing.T) open
}

// deployments are those that meet faults of the network only.
var deployments = []deployment{
	{"OneServer", func(t *testing.T) open { return toServer(redistest.Shared(t)) }},
	{"ClusterOfOne", func(t *testing.T) open { return toCluster(redistest.StartClusterOfOne(t).Addr()) }},
	{"Cluster", func(t *testing.T) open { return toCluster(redistest.SharedCluster(t).Addrs()...) }},
}

// A way is how callers use backends.
type way struct {
	name      string // starts those of its tests
	batches   bool   // by AutoPipeline
	processes int    // each with a backend
	callers   int    // in each
	pause     time.Duration
}

// ways are the two that every load has to stand. A process with shared batches needs
// many callers.
var ways = []way{
	{"", false, clients, 1, 500 * time.Microsecond},
	{"AutoPipeline", true, 2, 12, 200 * time.Microsecond},
}

// some returns how many of n histories a short run records: fewer of those that are
// longer.
func (w way) some(n int) int { return max(1, n*clients/(w.processes*w.callers)) }

// depth is a hook that counts how many commands are sent together.
type depth struct {
	noDialHook
	batches, commands atomic.Int64
}

func (d *depth) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		d.count(1)
		return next(ctx, cmd)
	}
}

func (d *depth) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		d.count(len(cmds))
		return next(ctx, cmds)
	}
}

func (d *depth) count(commands int) {
	d.batches.Add(1)
	d.commands.Add(int64(commands))
}

func (d *depth) String() string {
	return fmt.Sprintf("%.1f commands in a batch", float64(d.commands.Load())/float64(max(d.batches.Load(), 1)))
}

func newProxy(t *testing.T) *faultproxy.Proxy {
	p := faultproxy.New()
	t.Cleanup(p.Close)
	return p
}

// backend returns a backend with a client of its own, which hooks may change.
func backend(t *testing.T, open open, p *faultproxy.Proxy, opts taskstore.RedisOptions, hooks ...redis.Hook) *taskstore.RedisBackend {
	t.Helper()
	var client redis.UniversalClient
	if p != nil {
		client = open(p.Dial)
	} else {
		client = open(nil)
	}
	t.Cleanup(func() { client.Close() })
	for _, h := range hooks {
		client.AddHook(h)
	}
	b, err := taskstore.NewRedisBackend(client, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}
