//go:build integration

package taskstore_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// With AutoPipeline what happens to one connection happens to the calls of many, and
// what happens to one of them must not.

// batched is a RedisOptions.
var batched = taskstore.RedisOptions{AutoPipeline: true}

// callers is how many calls share a batch.
const callers = 64

// A queued is a ctx that tells when its call waits for an answer.
type queued struct {
	context.Context
	waits func()
}

func (q queued) Done() <-chan struct{} {
	q.waits()
	return q.Context.Done()
}

// share makes n calls that are sent in one batch, and returns when all have returned.
// Their scripts meet the faults of the plan, in the order in which they are sent;
// passes, if not nil, is told of each before.
func (r *resending) share(n int, plan []faultproxy.Fault, passes func(script int), call func(ctx context.Context, i int)) {
	r.t.Helper()
	scripts := 0
	var waiting atomic.Int32
	all, ahead := make(chan struct{}), make(chan struct{})
	var hold sync.Once // a read, behind which the calls queue up
	r.proxy.Set(faultproxy.Faults{Plan: plan, Match: func(args []string) bool {
		if strings.EqualFold(args[0], "hmget") {
			hold.Do(func() {
				close(ahead)
				select {
				case <-all:
				case <-time.After(20 * time.Second):
				}
			})
		}
		if !strings.HasPrefix(strings.ToLower(args[0]), "eval") || !strings.Contains(args[3], ":tasks:") {
			return false
		}
		if passes != nil {
			passes(scripts)
		}
		scripts++
		return true
	}})
	var calls sync.WaitGroup
	calls.Go(func() {
		_, err := r.mine.Get(ctx, r.neighbour)
		assert.ErrorIs(r.t, err, taskstore.ErrNotFound)
	})
	<-ahead
	for i := range n {
		var first sync.Once
		ctx := queued{ctx, func() {
			first.Do(func() {
				if waiting.Add(1) == int32(n) {
					close(all)
				}
			})
		}}
		calls.Go(func() { call(ctx, i) })
	}
	calls.Wait()
	assert.EqualValues(r.t, n, waiting.Load())
}

// behind returns the plan by which the scripts before the n-th are left alone.
func behind(n int, fault faultproxy.Fault) []faultproxy.Fault {
	return append(make([]faultproxy.Fault, n), fault)
}

// aged makes n records that are no successors to any write of now, one for each call.
func (r *resending) agedEach(n int) (keys []taskstore.Key) {
	for i := range n {
		keys = append(keys, taskstore.Key{Owner: r.key.Owner, Task: fmt.Sprint(uuid.NewString(), i)})
		_, err := r.other.Put(ctx, keys[i], text("first"))
		require.NoError(r.t, err)
	}
	r.aged(taskstore.Key{Owner: r.key.Owner, Task: "later"}, text("first"))
	return keys
}

// Wherever the connection of a batch breaks, each write is applied once, and each
// call is told of its own.
func TestWritesOfABatchThatIsCutAreAppliedOnce(t *testing.T) {
	onEachClientAsItIs(t, batched, func(r *resending) {
		for _, plan := range [][]faultproxy.Fault{
			behind(0, lost), behind(callers/2, lost), behind(callers-1, lost),
			behind(0, cut), behind(callers/2, cut), behind(callers-1, cut),
		} {
			keys := r.agedEach(callers)
			r.share(callers, plan, nil, func(ctx context.Context, i int) {
				var v taskstore.Version
				var err error
				if data := text(keys[i].Task); i%2 == 0 {
					v, err = r.mine.PutIfVersion(ctx, keys[i], data, 1)
				} else {
					v, err = r.mine.Put(ctx, keys[i], data)
				}
				assert.NoError(r.t, err, "%v", plan)
				assert.EqualValues(r.t, 2, v, "%v", plan)
			})
			assert.NotZero(r.t, r.proxy.Counts().RepliesLost+r.proxy.Counts().CutBefore)
			for _, key := range keys {
				rec, err := r.other.Get(ctx, key)
				require.NoError(r.t, err)
				assert.EqualValues(r.t, 2, rec.Version)
				assert.Equal(r.t, key.Task, string(rec.Data))
			}
		}
	})
}

// A batch that a Cluster redirects is cut where it was redirected to. That it was
// redirected before says nothing of what has become of it since.
func TestWritesOfABatchThatIsRedirectedAndCutAreAppliedOnce(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	r := resendingOn(t, batched, func(p *faultproxy.Proxy) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Dialer: p.Dial})
	})
	slot := "{" + r.key.Owner + "}"
	from := masterOf(t, cluster, slot)
	move := func() (to *redistest.Server) {
		to = cluster.Masters[(slices.Index(cluster.Masters, from)+1)%len(cluster.Masters)]
		cluster.MoveSlot(t, slot, from, to)
		from = to
		return to
	}
	for range cluster.Masters {
		move()
		r.loadScripts()
	}
	r.neighbour.Owner = queueMate(t, cluster, r.key.Owner) // stays where it is
	for _, fault := range []faultproxy.Fault{lost, cut} {
		keys := r.agedEach(callers)
		_, err := r.mine.Get(ctx, keys[0]) // it knows the old master
		require.NoError(t, err)
		to := move()
		// Each script is sent to the old master, and then to the new one. That executes
		// them when it has all, where the answers are what is lost.
		passes := func(script int) {
			switch {
			case fault == lost && script == callers:
				to.Suspend()
			case fault == lost && script == 2*callers-1:
				go to.Resume()
			}
		}
		r.share(callers, behind(callers+callers/2, fault), passes, func(ctx context.Context, i int) {
			v, err := r.mine.PutIfVersion(ctx, keys[i], text(keys[i].Task), 1)
			assert.NoError(t, err)
			assert.EqualValues(t, 2, v)
		})
		for _, key := range keys {
			rec, err := r.other.Get(ctx, key)
			require.NoError(t, err)
			assert.EqualValues(t, 2, rec.Version)
		}
	}
	assert.Equal(t, 2, r.proxy.Counts().RepliesLost+r.proxy.Counts().CutBefore)
}

// queueMate returns an owner in another slot whose commands wait in the same queue.
func queueMate(t *testing.T, cluster *redistest.Cluster, owner string) string {
	c := redis.NewClient(&redis.Options{Addr: cluster.Masters[0].Addr()})
	defer c.Close()
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
