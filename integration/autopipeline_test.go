//go:build integration

package integration

import (
	"context"
	"fmt"
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

// With AutoPipeline the calls of many share a connection, so a fault of the connection meets
// them all. A fault of one call must stay with that call.

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

// A batch is calls that are sent together.
type batch struct {
	// plan has the faults that their scripts meet, in the order in which they are sent.
	plan []faultproxy.Fault
	// passes, if not nil, is told of each script before it is passed on.
	passes func(script int)
	// queued, if not nil, is called when all wait to be sent.
	queued func()
}

// share makes n calls that are sent in one batch, and returns when all have returned.
func (r *resending) share(n int, b batch, call func(ctx context.Context, i int)) {
	r.t.Helper()
	scripts := 0
	var waiting atomic.Int32
	all, ahead, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var hold sync.Once // a read, behind which the calls queue up
	r.proxy.Set(faultproxy.Faults{Plan: b.plan, Match: func(args []string) bool {
		if strings.EqualFold(args[0], "hmget") {
			hold.Do(func() {
				close(ahead)
				<-release
			})
		}
		if !isWrite(args) {
			return false
		}
		if b.passes != nil {
			b.passes(scripts)
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
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		assert.Fail(r.t, "not all calls wait")
	}
	if b.queued != nil {
		b.queued()
	}
	close(release)
	calls.Wait()
}

// behind returns the plan by which the scripts before the n-th are left alone.
func behind(n int, fault faultproxy.Fault) []faultproxy.Fault {
	return append(make([]faultproxy.Fault, n), fault)
}

// each makes records, one for each call.
func (r *resending) each() (keys []taskstore.Key) {
	for range callers {
		key := taskstore.Key{Owner: r.key.Owner, Task: uuid.NewString()}
		_, err := r.other.Put(ctx, key, r.value("first"))
		require.NoError(r.t, err)
		keys = append(keys, key)
	}
	_, err := r.other.Put(ctx, taskstore.Key{Owner: r.key.Owner, Task: "remains"}, r.value(""))
	require.NoError(r.t, err)
	return keys
}

// agedEach makes some that are old enough not to be taken for successors, though many
// calls at once take long, and with them the question for the server's time.
func (r *resending) agedEach() (keys []taskstore.Key) {
	keys = r.each()
	r.passes(time.Second)
	return keys
}

// lasting returns a value that expires, but not now: an owner of such records has all
// the keys that scripts use.
func lasting(s string) taskstore.Value {
	return taskstore.Value{Data: []byte(s), ExpiresAt: time.Now().Add(time.Hour)}
}

// updated checks that each record was updated once, with its own data.
func (r *resending) updated(keys []taskstore.Key) {
	r.t.Helper()
	for _, key := range keys {
		rec, err := r.other.Get(ctx, key)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 2, rec.Version)
		assert.Equal(r.t, key.Task, string(rec.Data))
	}
}

// update makes that update.
func (r *resending) update(ctx context.Context, key taskstore.Key) {
	v, err := r.mine.PutIfVersion(ctx, key, r.value(key.Task), 1)
	assert.NoError(r.t, err)
	assert.EqualValues(r.t, 2, v)
}

// The connection of a batch may break at any place: each write is applied once, and each call
// learns the outcome of its own.
func TestWritesOfABatchThatIsCutAreAppliedOnce(t *testing.T) {
	onEachClientAsItIs(t, batched, func(r *resending) {
		plans := [][]faultproxy.Fault{
			behind(0, lost), behind(callers/2, lost), behind(callers-1, lost),
			behind(0, cut), behind(callers/2, cut), behind(callers-1, cut),
		}
		var records [][]taskstore.Key // for each of them
		for range plans {
			records = append(records, r.each())
		}
		r.passes(time.Second)
		for n, plan := range plans {
			keys := records[n]
			r.share(callers, batch{plan: plan}, func(ctx context.Context, i int) {
				if i%2 == 0 {
					r.update(ctx, keys[i])
					return
				}
				v, err := r.mine.Put(ctx, keys[i], r.value(keys[i].Task))
				assert.NoError(r.t, err)
				assert.EqualValues(r.t, 2, v)
			})
			r.updated(keys)
		}
		n := r.proxy.Counts()
		assert.Equal(r.t, 6, n.RepliesLost+n.CutBefore)
	})
}

// Writes of many batches are applied once too: long writes of calls that come together are
// sent in pieces.
func TestLongWritesThatAreCutAreAppliedOnce(t *testing.T) {
	onEachClientAsItIs(t, batched, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			keys := r.agedEach()
			long := func(i int) taskstore.Value { return r.value(strings.Repeat(keys[i].Task, 64<<10/len(keys[i].Task))) }
			r.share(callers, batch{plan: behind(callers/2, fault)}, func(ctx context.Context, i int) {
				v, err := r.mine.PutIfVersion(ctx, keys[i], long(i), 1)
				assert.NoError(r.t, err)
				assert.EqualValues(r.t, 2, v)
			})
			for i, key := range keys {
				rec, err := r.other.Get(ctx, key)
				require.NoError(r.t, err)
				assert.EqualValues(r.t, 2, rec.Version)
				assert.True(r.t, string(long(i).Data) == string(rec.Data))
			}
		}
	})
}

// A server's refusal reaches only the call that asked for the refused command.
func TestRefusalsConcernOneCallOfABatch(t *testing.T) {
	server := redistest.Start(t)
	r, c := batchedOn(t, server), admin(t, server)
	for range 10 {
		keys := r.each()
		var wrong []string // their record keys hold something else
		for i := 0; i < callers; i += 8 {
			found, err := c.Keys(ctx, "*:tasks:{"+r.key.Owner+"}:"+keys[i].Task).Result()
			require.NoError(t, err)
			require.Len(t, found, 1)
			wrong = append(wrong, found[0])
			require.NoError(t, c.Set(ctx, found[0], "no hash", 0).Err())
		}
		queued := func() { // some scripts are known to the server, others are not
			require.NoError(t, c.ScriptFlush(ctx).Err())
			_, err := r.other.PutIfVersion(ctx, taskstore.Key{Owner: r.key.Owner, Task: uuid.NewString()}, text(""), 0)
			require.NoError(t, err)
		}
		r.share(callers, batch{queued: queued}, func(ctx context.Context, i int) {
			key := keys[i]
			switch i % 8 {
			case 0:
				_, err := r.mine.PutIfVersion(ctx, key, r.value(key.Task), 1)
				var corrupt *taskstore.CorruptError
				if assert.ErrorAs(t, err, &corrupt) {
					assert.Equal(t, key, corrupt.Key)
				}
			case 1:
				existed, err := r.mine.Delete(ctx, key)
				assert.NoError(t, err)
				assert.True(t, existed)
			case 2:
				rec, err := r.mine.Get(ctx, key)
				assert.NoError(t, err)
				assert.Equal(t, key, rec.Key)
				assert.Equal(t, "first", string(rec.Data))
			case 3:
				_, err := r.mine.PutIfVersion(ctx, key, r.value(key.Task), 7)
				var conflict *taskstore.VersionConflictError
				if assert.ErrorAs(t, err, &conflict) {
					assert.Equal(t, taskstore.VersionConflictError{Key: key, Expected: 7, Actual: 1}, *conflict)
				}
			case 4:
				v, err := r.mine.Put(ctx, key, r.value(key.Task))
				assert.NoError(t, err)
				assert.EqualValues(t, 2, v)
			default:
				r.update(ctx, key)
			}
		})
		for i := 4; i < callers; i += 8 {
			r.updated(keys[i : i+4])
		}
		require.NoError(t, c.Del(ctx, wrong...).Err())
	}
}

// batchedOn returns one on a server of its own.
func batchedOn(t *testing.T, server *redistest.Server) *resending {
	return resendingOn(t, batched, func(p *faultproxy.Proxy) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: p.Dial})
	})
}

// outlasts makes calls at once while servers refuse them, ends that when all have been
// refused, and checks that all succeed.
func (r *resending) outlasts(refuse, end func()) {
	keys := r.each()
	for _, key := range keys { // the client is connected
		_, err := r.mine.Get(ctx, key)
		require.NoError(r.t, err)
	}
	r.proxy.Set(faultproxy.Faults{Match: isWrite})
	before := r.proxy.Counts().Commands
	refuse()
	var calls sync.WaitGroup
	for _, key := range keys {
		calls.Go(func() { r.update(ctx, key) })
	}
	assert.Eventually(r.t, func() bool { return r.proxy.Counts().Commands-before >= 2*callers }, 10*time.Second, time.Millisecond)
	end()
	calls.Wait()
	r.updated(keys)
}

// A replica that is connected to as a master becomes one.
func TestBatchesOutlastReadOnlyServers(t *testing.T) {
	server, master := redistest.Start(t), redistest.Start(t)
	r, c := batchedOn(t, server), admin(t, server)
	// It keeps its data as long as it cannot follow.
	master.Suspend()
	defer master.Resume()
	r.outlasts(
		func() { require.NoError(t, c.ReplicaOf(ctx, "127.0.0.1", fmt.Sprint(master.Port())).Err()) },
		func() { require.NoError(t, c.ReplicaOf(ctx, "no", "one").Err()) },
	)
}
