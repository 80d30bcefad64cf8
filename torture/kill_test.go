//go:build integration

package torture

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// acknowledgement returns options for writes that so many replicas acknowledge.
func acknowledgement(replicas int) taskstore.RedisOptions {
	return taskstore.RedisOptions{Prefix: uuid.NewString(), MinReplicas: replicas, ReplicaTimeout: time.Second}
}

// A master dies by SIGKILL while all write, and a replica takes its place. With
// acknowledgement by a replica every acknowledged write stays and every answer is
// right. Without it the test counts the losses.
func TestMastersAreKilled(t *testing.T) {
	for _, d := range []struct {
		name  string
		start func(t *testing.T) mortal
	}{
		{"Sentinel", mortalSentinel},
		{"Cluster", mortalCluster},
	} {
		t.Run(d.name, func(t *testing.T) {
			m := d.start(t)
			for _, replicas := range []int{0, 1} {
				t.Run(fmt.Sprint("MinReplicas", replicas), func(t *testing.T) {
					rounds := either(*roundsFlag, 1, 10)
					var sum Audit
					for round := range rounds {
						sum.Add(killed(t, m, replicas, round))
					}
					t.Logf("killed %d times: %d writes acknowledged, %d of them lost, %d wrong successes, %d wrong conflicts, %d unknown, %d failed; %v without a success at the longest",
						rounds, sum.Acknowledged, sum.Lost, sum.WrongSuccesses, sum.WrongConflicts, sum.Unknown, sum.Failed, sum.Longest.Round(10*time.Millisecond))
					if replicas > 0 {
						assert.Zero(t, sum.Lost, "lost")
						assert.Zero(t, sum.WrongSuccesses, "wrong successes")
						assert.Zero(t, sum.WrongConflicts, "wrong conflicts")
					}
				})
			}
		})
	}
}

// A mortal is a deployment with a master that the test kills.
type mortal struct {
	open open
	// settle waits until the replicas follow the master, and returns the master and an
	// owner of records on it.
	settle func(round int) (master *redistest.Server, owner string)
	// replaced reports whether another server has taken the place of the master that
	// settle returned.
	replaced func(old *redistest.Server) bool
}

func mortalCluster(t *testing.T) mortal {
	c := redistest.StartCluster(t)
	shards := shardsOf(t, c)
	var s *shard
	return mortal{
		open: toCluster(c.Addrs()...),
		settle: func(round int) (*redistest.Server, string) {
			s = shards[round%len(shards)]
			return s.servers[s.settle()], s.owner(uint64(round))
		},
		replaced: func(old *redistest.Server) bool {
			i, err := s.master()
			return err == nil && s.servers[i] != old
		},
	}
}

func mortalSentinel(t *testing.T) mortal {
	s := sentinelsOf(t)
	return mortal{
		open: toSentinel(s.Sentinel),
		settle: func(round int) (*redistest.Server, string) {
			return s.settle(), fmt.Sprint("owner-", round)
		},
		replaced: func(old *redistest.Server) bool {
			now := s.master()
			return now != nil && now != old
		},
	}
}

// killed kills the master once, under load, and returns the audit of the writes.
func killed(t *testing.T, m mortal, replicas, round int) (sum Audit) {
	const writers = 4
	master, owner := m.settle(round)
	opts := acknowledgement(replicas)
	stop := make(chan struct{})
	var all sync.WaitGroup
	successes := make([]atomic.Int64, writers)
	shared := &Ledger{Owner: owner, Name: "shared"}
	ledgers := []*Ledger{shared}
	for id := range writers {
		b := backend(t, m.open, nil, opts)
		own := &Ledger{Owner: owner, Name: fmt.Sprint("own-", id)}
		ledgers = append(ledgers, own)
		all.Go(func() {
			ws := []*Writer{{Ledger: own, Backend: b}, {Ledger: shared, Backend: b}}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(ctx, callTime)
				if ws[n%len(ws)].Append(ctx) {
					successes[id].Add(1)
				}
				cancel()
			}
		})
	}
	// each waits until each writer has had so many more successes.
	each := func(more int64) {
		t.Helper()
		var before [writers]int64
		for id := range writers {
			before[id] = successes[id].Load()
		}
		require.Eventually(t, func() bool {
			for id := range writers {
				if successes[id].Load() < before[id]+more {
					return false
				}
			}
			return true
		}, patience, tick)
	}
	each(100)
	master.Kill()
	require.Eventually(t, func() bool { return m.replaced(master) }, patience, tick)
	master.Restart() // not before: it comes back empty, and would be the master
	each(50)
	close(stop)
	all.Wait()
	b := backend(t, m.open, nil, opts)
	for _, l := range ledgers {
		audit, err := l.Audit(ctx, b)
		require.NoError(t, err)
		sum.Add(audit)
	}
	return sum
}
