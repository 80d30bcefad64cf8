//go:build integration

package integration

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A redirected is a resending in a Cluster that moves its slot.
type redirected struct {
	*resending
	cluster *redistest.Cluster
	slot    string // a key in it
	from    *redistest.Server
}

func redirectedIn(t *testing.T) *redirected {
	cluster := redistest.StartCluster(t)
	r := &redirected{cluster: cluster}
	r.resending = resendingOn(t, batched, func(p *faultproxy.Proxy) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Dialer: p.Dial})
	})
	r.neighbour.Owner = queueMate(t, cluster, r.key.Owner) // its slot does not move
	r.slot = "{" + r.key.Owner + "}"
	r.from = masterOf(t, cluster, r.slot)
	for range cluster.Masters { // all know the scripts
		to := r.next()
		cluster.MoveSlot(t, r.slot, r.from, to)
		r.from = to
		r.loadScripts()
	}
	return r
}

// next returns the master that the slot moves to next.
func (r *redirected) next() *redistest.Server {
	return r.cluster.Masters[(slices.Index(r.cluster.Masters, r.from)+1)%len(r.cluster.Masters)]
}

// A batch is redirected, and then cut by the node that it was redirected to. The earlier
// redirect does not tell whether that node has executed the writes.
func TestWritesOfABatchThatIsRedirectedAndCutAreAppliedOnce(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(r *redirected) (end func()){
		"MOVED": func(r *redirected) func() {
			r.cluster.MoveSlot(r.t, r.slot, r.from, r.next())
			return func() {}
		},
		"ASK": func(r *redirected) func() { return r.cluster.BeginMove(r.t, r.slot, r.from, r.next()).End },
	} {
		t.Run(name, func(t *testing.T) {
			r := redirectedIn(t)
			for _, fault := range []faultproxy.Fault{lost, cut} {
				keys := r.agedEach()
				_, err := r.mine.Get(ctx, keys[0]) // it knows the old master
				require.NoError(t, err)
				end, to := move(r), r.next()
				// Each script is sent to the old master, and then to the new one. If the answers
				// are to be lost, the new master executes the scripts once it has all of them.
				passes := func(script int) {
					switch {
					case fault == lost && script == callers:
						to.Suspend()
					case fault == lost && script == 2*callers-1:
						go to.Resume()
					}
				}
				r.share(callers, batch{plan: behind(callers+callers/2, fault), passes: passes}, func(ctx context.Context, i int) {
					r.update(ctx, keys[i])
				})
				r.updated(keys)
				end()
				r.from = to
			}
			n := r.proxy.Counts()
			assert.Equal(t, 2, n.RepliesLost+n.CutBefore)
		})
	}
}

// A caller that traces a Cluster has a hook on its nodes that looks at the commands.
func TestBatchesGoThroughHooksThatLookAtThem(t *testing.T) {
	t.Parallel()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: redistest.SharedCluster(t).Addrs()})
	client.OnNewNode(func(node *redis.Client) { node.AddHook(looks{}) })
	t.Cleanup(func() { _ = client.Close() })
	b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: uuid.NewString(), AutoPipeline: true})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for range 2 { // the first write is sent twice, for the script
		_, err = b.Put(ctx, taskstore.Key{Owner: "o", Task: "t"}, text("x"))
		require.NoError(t, err)
		_, err = b.Get(ctx, taskstore.Key{Owner: "o", Task: "t"})
		require.NoError(t, err)
	}
}

// looks is such a hook.
type looks struct{}

func (looks) DialHook(next redis.DialHook) redis.DialHook { return next }

func (looks) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		_, _ = cmd.String(), cmd.Err()
		return next(ctx, cmd)
	}
}

func (looks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			_, _ = cmd.String(), cmd.Err()
		}
		return next(ctx, cmds)
	}
}

// queueMate returns an owner in another slot whose commands wait in the same queue.
func queueMate(t *testing.T, cluster *redistest.Cluster, owner string) string {
	c := admin(t, cluster.Masters[0])
	slot := func(owner string) int64 { return c.ClusterKeySlot(ctx, "{"+owner+"}").Val() }
	queue := func(slot int64) int64 { return slot * int64(min(runtime.GOMAXPROCS(0), 16)) / 16384 }
	own := slot(owner)
	for {
		other := uuid.NewString()
		if s := slot(other); s != own && queue(s) == queue(own) {
			return other
		}
	}
}

func TestBatchesOutlastRefusalsOfACluster(t *testing.T) {
	t.Parallel()
	t.Run("CLUSTERDOWN", func(t *testing.T) {
		server := redistest.StartClusterOfOne(t)
		r := resendingOn(t, batched, func(p *faultproxy.Proxy) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, Dialer: p.Dial})
		})
		c := admin(t, server)
		slot := int(c.ClusterKeySlot(ctx, "{"+r.key.Owner+"}").Val())
		r.outlasts(
			func() { require.NoError(t, c.Do(ctx, "cluster", "delslots", slot).Err()) },
			func() { require.NoError(t, c.Do(ctx, "cluster", "addslots", slot).Err()) },
		)
	})
	// A node refuses to execute a script if only some of its keys have moved.
	t.Run("TRYAGAIN", func(t *testing.T) {
		r := redirectedIn(t)
		r.value = text // so that a key of theirs is missing
		var move *redistest.SlotMove
		r.outlasts(
			func() { move = r.cluster.BeginMove(t, r.slot, r.from, r.next()) },
			func() { move.End() },
		)
	})
}
