//go:build integration

package torture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redistest"
)

// direct returns a client of one server.
func direct(t *testing.T, s *redistest.Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { c.Close() })
	return c
}

// A shard is a master of a Cluster and its replica, whichever is which at present.
type shard struct {
	t           *testing.T
	everybody   []*redis.Client // of the Cluster
	servers     [2]*redistest.Server
	clients     [2]*redis.Client
	first, last int // slots
	failedOver  time.Time
}

// failoverPause is how long after one failover of a shard the other masters refuse to
// vote for the next: twice their node timeout.
const failoverPause = 2*time.Second + 100*time.Millisecond

func shardsOf(t *testing.T, c *redistest.Cluster) (shards []*shard) {
	var everybody []*redis.Client
	for _, server := range slices.Concat(c.Masters, c.Replicas) {
		everybody = append(everybody, direct(t, server))
	}
	for i := range c.Masters {
		s := &shard{t: t, everybody: everybody, servers: [2]*redistest.Server{c.Masters[i], c.Replicas[i]}}
		s.first, s.last = i*slotCount/len(c.Masters), (i+1)*slotCount/len(c.Masters)-1
		s.clients = [2]*redis.Client{everybody[i], everybody[len(c.Masters)+i]}
		shards = append(shards, s)
	}
	return shards
}

// owner returns an owner with its records in the shard, another one for each n.
func (s *shard) owner(n uint64) string {
	for try := 0; ; try++ {
		owner := fmt.Sprintf("owner-%d-%d", n, try)
		if slot := slotOf(owner); s.first <= slot && slot <= s.last {
			return owner
		}
	}
}

// slotOf returns the slot of keys with this hash tag.
func slotOf(tag string) int {
	crc := uint16(0)
	for _, b := range []byte(tag) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slotCount)
}

const slotCount = 16384

// master returns which of the servers is the master.
func (s *shard) master() (i int, err error) {
	for i, c := range s.clients {
		if role := info(c)["role"]; role == "master" {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no master among %s and %s", s.servers[0].Addr(), s.servers[1].Addr())
}

// settle waits until the shard has a master that all servers know, and a replica
// that follows it: one that has acknowledged a write. A link that is up has not yet
// brought anything. Failovers in quick succession are not in order: a master that
// not all know of may be deposed, and its writes are lost.
func (s *shard) settle() (master int) {
	s.t.Helper()
	require.Eventually(s.t, func() (ok bool) {
		var err error
		if master, err = s.master(); err != nil || time.Since(s.failedOver) < failoverPause {
			return false
		}
		other := info(s.clients[1-master])
		return other["role"] == "slave" && other["master_link_status"] == "up" && s.known(master) &&
			acknowledges(s.clients[master], "{"+s.owner(0)+"}", 1)
	}, patience, tick)
	return master
}

// known reports whether all servers say that a server is the shard's master, and the
// other its replica.
func (s *shard) known(master int) bool {
	for _, c := range s.everybody {
		roles := make(map[string]string)
		for line := range strings.Lines(c.ClusterNodes(ctx).Val()) {
			// id address@port flags...
			columns := strings.Fields(line)
			addr, _, _ := strings.Cut(columns[1], "@")
			roles[addr] = strings.TrimPrefix(columns[2], "myself,")
		}
		if roles[s.servers[master].Addr()] != "master" || roles[s.servers[1-master].Addr()] != "slave" {
			return false
		}
	}
	return true
}

// failover has the replica take over, in order, and returns when it has.
func (s *shard) failover() {
	old := s.settle()
	for !s.takeOver(old) {
	}
	s.failedOver = time.Now()
}

// takeOver asks the replica to take over and reports whether it did before it gave
// up, which it does after 5 seconds.
func (s *shard) takeOver(old int) bool {
	if err := s.clients[1-old].ClusterFailover(ctx).Err(); err != nil {
		time.Sleep(tick)
		return false
	}
	for deadline := time.Now().Add(6 * time.Second); time.Now().Before(deadline); time.Sleep(tick) {
		if info(s.clients[1-old])["role"] == "master" && info(s.clients[old])["role"] == "slave" {
			return true
		}
	}
	return false
}

// acknowledges reports whether replicas acknowledge a write to key.
func acknowledges(master *redis.Client, key string, replicas int) bool {
	pipe := master.Pipeline()
	pipe.Set(ctx, key, 1, 0)
	acks := pipe.Do(ctx, "wait", replicas, 1000)
	if _, err := pipe.Exec(ctx); err != nil {
		return false
	}
	n, err := acks.Int()
	return err == nil && n >= replicas
}

// info returns the fields of a server's view of replication, or nil if the server
// does not answer.
func info(c *redis.Client) map[string]string {
	return c.InfoMap(ctx, "replication").Val()["Replication"]
}
