//go:build integration

package torture

import (
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// An open opens a client of some deployment of Redis whose connections dial makes;
// nil is the usual way.
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

// deployments are those that nothing happens to but faults of the network.
var deployments = []struct {
	name string
	open func(t *testing.T) open
}{
	{"OneServer", func(t *testing.T) open { return toServer(redistest.Shared(t)) }},
	{"ClusterOfOne", func(t *testing.T) open { return toCluster(redistest.StartClusterOfOne(t).Addr()) }},
	{"Cluster", func(t *testing.T) open { return toCluster(redistest.SharedCluster(t).Addrs()...) }},
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
