//go:build integration

package torture

import (
	"net"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redistest"
)

// sentinels are a master and its replicas, whichever is which at present, and the
// Sentinels that watch over them.
type sentinels struct {
	*redistest.Sentinel
	t       *testing.T
	clients map[*redistest.Server]*redis.Client
	asked   *redis.SentinelClient // one of them
}

func sentinelsOf(t *testing.T) *sentinels {
	s := &sentinels{Sentinel: redistest.StartSentinel(t), t: t, clients: make(map[*redistest.Server]*redis.Client)}
	for _, server := range slices.Concat(s.Replicas, []*redistest.Server{s.Master}) {
		s.clients[server] = direct(t, server)
	}
	s.asked = redis.NewSentinelClient(&redis.Options{Addr: s.Sentinels[0].Addr()})
	t.Cleanup(func() { s.asked.Close() })
	return s
}

// master returns the server that is the master and that Sentinel calls so, or nil.
func (s *sentinels) master() *redistest.Server {
	addr, err := s.asked.GetMasterAddrByName(ctx, s.MasterName).Result()
	if err != nil {
		return nil
	}
	for server, c := range s.clients {
		if server.Addr() == net.JoinHostPort(addr[0], addr[1]) && info(c)["role"] == "master" {
			return server
		}
	}
	return nil
}

// settle waits until all replicas follow the master, and returns it.
func (s *sentinels) settle() (master *redistest.Server) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		master = s.master()
		return master != nil && acknowledges(s.clients[master], "settled", len(s.Replicas)) &&
			s.asked.CkQuorum(ctx, s.MasterName).Err() == nil
	}, 2*patience, tick)
	return master
}

// failover makes a replica the master, and returns when it is.
func (s *sentinels) failover() {
	old := s.settle()
	require.NoError(s.t, s.asked.Failover(ctx, s.MasterName).Err())
	require.Eventually(s.t, func() bool {
		now := s.master()
		return now != nil && now != old
	}, patience, tick)
}
