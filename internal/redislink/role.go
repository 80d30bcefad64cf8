package redislink

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A connection outlives the role of the server that it leads to: behind a forwarder,
// a virtual address or a name that now stands for another server, the connections
// that a client already has go on leading to the master that was replaced, which
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
	roleTimeout  = 8 * time.Second        // of all that is asked at once
	roleDoubt    = 10 * time.Second       // how long what could not be asked is suspect

	roleSample      = 8   // connections that are asked every now and then
	maxRoleQuestion = 256 // and after READONLY

	// The limits of a gathering. A question that is asked every now and then keeps no call waiting.
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

// AttendToRole has the role asked for in the background where it is time to.
func (l *Link) AttendToRole() {
	r := &l.role
	if r.cluster {
		return
	}
	due := roleInterval
	if r.refused.Load() != 0 {
		due = rolePause
	}
	if r.now()-r.asked.Load() >= int64(due) {
		l.sweep()
	}
}

// condemn is told that a server refused a write as a replica. It returns when the
// connections that lead to such a server are dropped, or ctx is done.
func (l *Link) condemn(ctx context.Context) {
	r := &l.role
	if r.cluster {
		return
	}
	heard := r.now()
	if r.refused.Swap(heard) != 0 && heard-r.asked.Load() < int64(rolePause) {
		return // all were asked a moment ago
	}
	select {
	case <-l.sweep():
	case <-ctx.Done():
	case <-l.closed:
	}
}

// sweep asks for the role in the background, unless that is under way, and returns a
// channel that is closed at the end.
func (l *Link) sweep() <-chan struct{} {
	r := &l.role
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		return r.done
	}
	done := make(chan struct{})
	r.done = done
	go func() {
		l.askRoles()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done = nil
		close(done)
	}()
	return done
}

// askRoles asks on the idle connections of each pool that has any connection. After
// READONLY it asks on all of them, and again where one of them said it.
func (l *Link) askRoles() {
	r := &l.role
	ctx, cancel := context.WithTimeout(context.Background(), roleTimeout)
	defer cancel()
	for range 3 {
		suspect := r.refused.Load()
		most, limit := roleSample, roleGlance
		if suspect != 0 {
			most, limit = maxRoleQuestion, roleGathering
		}
		refused, complete := false, true
		for _, p := range l.pools() {
			said, all := l.askRole(ctx, p, most, limit)
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
			// A connection that was in use at first has been idle since, or was used by writes.
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
func (l *Link) pools() (pools []connectionPool) {
	stats := l.client.PoolStats()
	if stats == nil {
		stats = &redis.PoolStats{TotalConns: 1}
	}
	if stats.TotalConns > 0 {
		pools = append(pools, connectionPool{int(stats.IdleConns), l.client.Process})
	}
	if p := stats.PipelineStats; p != nil && p.TotalConns > 0 {
		pools = append(pools, connectionPool{int(p.IdleConns), func(ctx context.Context, question redis.Cmder) error {
			pipe := l.client.Pipeline()
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
func (l *Link) askRole(ctx context.Context, p connectionPool, most int, limit time.Duration) (refused, complete bool) {
	n := max(min(p.idle, most), 1)
	g := newGathering(n, limit)
	var wg sync.WaitGroup
	var said atomic.Bool
	for range n {
		wg.Go(func() {
			if err := p.ask(ctx, l.roleQuestion(ctx, &gathered{gathering: g})); Said(err, "READONLY") {
				said.Store(true)
			}
		})
	}
	wg.Wait()
	return said.Load(), g.missing.Load() <= 0 && !g.late.Load()
}

// roleQuestion returns the command that a replica refuses and that changes nothing.
func (l *Link) roleQuestion(ctx context.Context, field any) redis.Cmder {
	return once{redis.NewCmd(ctx, "hdel", l.opts.Key, field)}
}

// readWithRole does what process does for a read, and asks for the role on the same
// connection in the same round trip.
func (l *Link) readWithRole(ctx context.Context, read redis.Cmder) error {
	_, err := Detach(ctx, func() (struct{}, error) {
		pipe := l.client.Pipeline()
		question := l.roleQuestion(ctx, "role")
		// First: go-redis judges a connection by the first answer of a pipeline.
		_ = pipe.Process(ctx, question)
		_ = pipe.Process(ctx, read)
		_, err := pipe.Exec(ctx)
		switch asked := question.Err(); {
		case Said(asked, "READONLY"):
			return struct{}{}, asked
		case asked == nil && read.Err() == nil:
			// A server may refuse a connection by its own word, as for a wrong password.
			// go-redis takes that for the answer to a command, which it never sent, and
			// tells it of the pipeline only.
			return struct{}{}, err
		}
		return struct{}{}, read.Err()
	})
	return err
}

// Ping asks for a sign of life and for the role.
func (l *Link) Ping(ctx context.Context) error {
	if l.role.cluster {
		_, err := Detach(ctx, func() (string, error) { return ask(ctx, l.client, redis.NewStatusCmd(ctx, "ping")).Result() })
		return err
	}
	err := l.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	if Said(err, "READONLY") { // perhaps of this connection only
		l.condemn(ctx)
		err = l.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	}
	return err
}
