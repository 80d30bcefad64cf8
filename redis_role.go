package taskstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A connection outlives the role of the server that it leads to: behind a forwarder,
// a virtual address or a name that now stands for another server, the connections
// that a client already has go on leading to the master that was replaced. That one
// refuses writes and answers reads, with what it had. Its client drops the one
// connection that a write was refused on; those that carry only reads, or are of
// another pool (go-redis has one of its own for pipelines), it keeps.
//
// So the backend asks for the role itself. The question is a write that changes
// nothing, HDEL of a key that does not exist: a replica refuses it with READONLY,
// which makes the client drop that connection, and the recipe of rights has it
// already. It is asked
//
//	every roleInterval while calls come in, in the background, of some of the idle
//	connections of each pool
//
//	of all idle connections as soon as READONLY was heard, or MASTERDOWN, which only
//	replicas say either, and until none of them says it any more
//
//	by a read in its own round trip, for as long as it is not known to be needless:
//	after READONLY was heard, and after a pause
//
// A node of a Cluster that is demoted redirects its clients, so there nothing is
// asked.
const (
	roleInterval = time.Second
	rolePause    = 100 * time.Millisecond // between two sweeps
	roleDoubt    = 10 * time.Second       // how long what could not be asked is suspect

	roleSample      = 8   // connections that are asked every now and then
	maxRoleQuestion = 256 // and after READONLY

	// The limits of a gathering. What is asked every now and then keeps no call waiting.
	roleGlance    = 2 * time.Millisecond
	roleGathering = 50 * time.Millisecond
)

// A roleCheck is what is known of the role of the servers behind the client's
// connections.
type roleCheck struct {
	cluster bool
	local   func() time.Time
	begin   time.Time    // of the backend; the others count from there, in ns
	asked   atomic.Int64 // when the latest check ended
	refused atomic.Int64 // when READONLY was last heard; 0: never, or no more since

	mu   sync.Mutex
	done chan struct{} // closed when the sweep that is under way ends; nil: none is
}

func (r *roleCheck) init(cluster bool, local func() time.Time) {
	r.cluster, r.local, r.begin = cluster, local, local()
}

func (r *roleCheck) now() int64 { return int64(r.local().Sub(r.begin)) + 1 }

// proven reports whether a read need not ask for the role itself.
func (r *roleCheck) proven() bool {
	return r.cluster || r.refused.Load() == 0 && r.now()-r.asked.Load() < int64(2*roleInterval)
}

// attendToRole has the role asked for in the background where it is time to.
func (b *RedisBackend) attendToRole() {
	r := &b.role
	if r.cluster {
		return
	}
	due := roleInterval
	if r.refused.Load() != 0 {
		due = rolePause
	}
	if r.now()-r.asked.Load() >= int64(due) {
		b.sweep()
	}
}

// proveRole returns when the role has been asked for, where it is not proven, or ctx
// is done.
func (b *RedisBackend) proveRole(ctx context.Context) {
	if b.role.proven() {
		return
	}
	select {
	case <-b.sweep():
	case <-ctx.Done():
	case <-b.closed:
	}
}

// condemn is told that a server refused a write as a replica. It returns when the
// connections that lead to such a server are dropped, or ctx is done.
func (b *RedisBackend) condemn(ctx context.Context) {
	r := &b.role
	if r.cluster {
		return
	}
	heard := r.now()
	if r.refused.Swap(heard) != 0 && heard-r.asked.Load() < int64(rolePause) {
		return // all were asked a moment ago
	}
	select {
	case <-b.sweep():
	case <-ctx.Done():
	case <-b.closed:
	}
}

// sweep asks for the role in the background, unless that is under way, and returns a
// channel that is closed at the end.
func (b *RedisBackend) sweep() <-chan struct{} {
	r := &b.role
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		return r.done
	}
	done := make(chan struct{})
	r.done = done
	go func() {
		b.askRoles()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done = nil
		close(done)
	}()
	return done
}

// askRoles asks on the idle connections of each pool that has any connection. After
// READONLY it asks on all of them, and again where one of them said it.
func (b *RedisBackend) askRoles() {
	r := &b.role
	ctx, cancel := context.WithTimeout(context.Background(), maxStepTimeout)
	defer cancel()
	for range 3 {
		suspect := r.refused.Load()
		most, limit := roleSample, roleGlance
		if suspect != 0 {
			most, limit = maxRoleQuestion, roleGathering
		}
		refused, complete := false, true
		for _, p := range b.pools() {
			said, all := b.askRole(ctx, p, most, limit)
			refused, complete = refused || said, complete && all
		}
		now := r.now()
		r.asked.Store(now)
		switch {
		case refused:
			r.refused.Store(now)
			continue
		case suspect != 0 && !complete && now-suspect < int64(roleDoubt):
			continue // some were not asked, and the suspicion stays
		case suspect != 0 && now-suspect > int64(roleInterval):
			// What was in use at first has been idle since, or was used by writes.
			r.refused.CompareAndSwap(suspect, 0)
		}
		return
	}
}

// A connectionPool is one of a client's pools.
type connectionPool struct {
	idle int
	ask  func(ctx context.Context, question redis.Cmder) error
}

// pools returns those that have a connection.
func (b *RedisBackend) pools() (pools []connectionPool) {
	stats := b.client.PoolStats()
	if stats == nil {
		stats = &redis.PoolStats{TotalConns: 1}
	}
	if stats.TotalConns > 0 {
		pools = append(pools, connectionPool{int(stats.IdleConns), b.client.Process})
	}
	if p := stats.PipelineStats; p != nil && p.TotalConns > 0 {
		pools = append(pools, connectionPool{int(p.IdleConns), func(ctx context.Context, question redis.Cmder) error {
			pipe := b.client.Pipeline()
			_ = pipe.Process(ctx, question)
			_, err := pipe.Exec(ctx)
			return err
		}})
	}
	return pools
}

// askRole asks on so many of the idle connections of a pool, but on one at least, and
// reports whether one of them leads to a replica, and whether so many were asked. limit
// is that of the gathering.
func (b *RedisBackend) askRole(ctx context.Context, p connectionPool, most int, limit time.Duration) (refused, complete bool) {
	n := max(min(p.idle, most), 1)
	g := newGathering(n, limit)
	var wg sync.WaitGroup
	var said atomic.Bool
	for range n {
		wg.Go(func() {
			if err := p.ask(ctx, b.roleQuestion(ctx, &gathered{gathering: g})); redislink.Said(err, "READONLY") {
				said.Store(true)
			}
		})
	}
	wg.Wait()
	return said.Load(), g.missing.Load() <= 0 && !g.late.Load()
}

// roleQuestion returns the command that a replica refuses and that changes nothing.
func (b *RedisBackend) roleQuestion(ctx context.Context, field any) redis.Cmder {
	return once{redis.NewCmd(ctx, "hdel", b.keys.clock(), field)}
}

// readWithRole does what process does for a read, and asks for the role on the same
// connection in the same round trip.
func (b *RedisBackend) readWithRole(ctx context.Context, read redis.Cmder) error {
	_, err := redislink.Detach(ctx, func() (struct{}, error) {
		pipe := b.client.Pipeline()
		question := b.roleQuestion(ctx, "role")
		// First: go-redis judges a connection by the first answer of a pipeline.
		_ = pipe.Process(ctx, question)
		_ = pipe.Process(ctx, read)
		_, err := pipe.Exec(ctx)
		switch asked := question.Err(); {
		case redislink.Said(asked, "READONLY"):
			return struct{}{}, asked
		case asked == nil && read.Err() == nil:
			// Where a server refuses a connection by its own word, as for a wrong
			// password, go-redis takes that for the answer to a command, which it never
			// sent, and tells it of the pipeline only.
			return struct{}{}, err
		}
		return struct{}{}, read.Err()
	})
	return err
}

// pingMaster asks for a sign of life and for the role.
func (b *RedisBackend) pingMaster(ctx context.Context) error {
	if b.role.cluster {
		_, err := redislink.Detach(ctx, func() (string, error) { return b.client.Ping(ctx).Result() })
		return err
	}
	err := b.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	if redislink.Said(err, "READONLY") { // perhaps of this connection only
		b.condemn(ctx)
		err = b.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	}
	return err
}

// errReplica says what READONLY means.
var errReplica = errors.New("the server is a replica, which takes no writes and may lag behind; name its master, its Sentinels or its Cluster")

// A gathering is how commands are made to go by different connections: each holds its
// own until all of them have one, or the time is over. The client asks for the bytes
// of an argument when it writes them, and by then it has the connection.
type gathering struct {
	missing atomic.Int64
	all     chan struct{}
	late    atomic.Bool // one did not wait for all
	limit   time.Duration
}

func newGathering(n int, limit time.Duration) *gathering {
	g := &gathering{all: make(chan struct{}), limit: limit}
	g.missing.Store(int64(n))
	return g
}

// A gathered is the argument of one command of a gathering.
type gathered struct {
	*gathering
	once sync.Once
}

// MarshalBinary implements [encoding.BinaryMarshaler].
func (g *gathered) MarshalBinary() ([]byte, error) {
	g.once.Do(func() {
		if g.missing.Add(-1) == 0 {
			close(g.all)
			return
		}
		timer := time.NewTimer(g.limit)
		defer timer.Stop()
		select {
		case <-g.all:
		case <-timer.C:
			g.late.Store(true)
		}
	})
	return []byte("role"), nil
}

// String is for who traces commands.
func (g *gathered) String() string { return "role" }
