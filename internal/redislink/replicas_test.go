package redislink

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// knownNodes is a Cluster's client, as much of it as knows the nodes.
type knownNodes struct {
	clusterClient
	nodes []*redis.Client
}

func (k knownNodes) ForEachMaster(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	for _, n := range k.nodes {
		if err := f(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// The node that an ASK names is found however either side writes its address.
func TestTheNodeThatAnASKNamesIsFound(t *testing.T) {
	for _, c := range []struct {
		said  string // by the server
		known string // to the client
		found bool
	}{
		{"127.0.0.1:7001", "127.0.0.1:7001", true},
		{"::1:7001", "[::1]:7001", true},
		{"[::1]:7001", "[::1]:7001", true},
		{"2001:db8::1:7001", "[2001:0db8:0:0:0:0:0:1]:7001", true},
		{"fe80::1%eth0:7001", "[fe80::1%eth0]:7001", true},
		{"::ffff:10.0.0.1:7001", "10.0.0.1:7001", true},
		{"Node.example:7001", "node.example:7001", true},
		{":7001", "asked.example:7001", true}, // the host that was asked
		{":7002", "[::1]:7001", false},
		{"::1:7002", "[::1]:7001", false},
		{"::2:7001", "[::1]:7001", false},
		{"127.0.0.1:7001", "127.0.0.2:7001", false},
	} {
		other := redis.NewClient(&redis.Options{Addr: "other.example:7001"})
		node := redis.NewClient(&redis.Options{Addr: c.known})
		cluster := knownNodes{nodes: []*redis.Client{other, node}}
		found := nodeAt(t.Context(), cluster, serverError("ASK 1 "+c.said), "asked.example:7000")
		if c.found {
			assert.Equal(t, pipeliner(node), found, c.said)
		} else {
			assert.Nil(t, found, c.said)
		}
		assert.NoError(t, node.Close())
		assert.NoError(t, other.Close())
	}
}
