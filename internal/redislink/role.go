package redislink

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A connection outlives a change of its server's role. Behind a forwarder, a virtual
// address or a name that now stands for another server, the connections that a client
// already has still lead to the replaced master, which refuses writes and answers reads
// from its old data. The client drops only the connection on which a write was refused. It
// keeps those that carry only reads, and those of another pool (go-redis has one of its own
// for pipelines).
//
// So the backend asks for the role itself. The question is a write that changes no data,
// HDEL of an absent key: a replica refuses it with READONLY, which makes the client drop
// that connection, and the documented rights already include it. The backend asks
//
//	every roleInterval while calls come in, in the background, on some of the idle
//	connections of each pool
//
//	on all idle connections once a server answers READONLY or MASTERDOWN, as only
//	replicas do, and until none of them does any more
//
//	in the round trip of a read, unless a recent check makes that needless: after
//	READONLY, and after a pause
//
// A demoted node of a Cluster redirects its clients, so there the backend does not ask.
const (
	roleInterval = time.Second
	rolePause    = 100 * time.Millisecond // between two sweeps
	roleTimeout  = 8 * time.Second        // of all questions of one sweep
	roleDoubt    = 10 * time.Second       // how long a connection that could not be asked is suspect

	roleSample      = 8   // connections that are asked at every roleInterval
	maxRoleQuestion = 256 // and after READONLY

	// The limits of a gathering. A regular sweep must not keep calls waiting.
	roleGlance    = 2 * time.Millisecond
	roleGathering = 50 * time.Millisecond
)

// A roleCheck tracks whether the client's connections lead to masters.
type roleCheck struct {
	cluster bool
	local   func() time.Time
	begin   time.Time    // when the backend began; the others count from there, in ns
	asked   atomic.Int64 // when the latest check ended
	refused atomic.Int64 // when READONLY was last heard; 0: not since a sweep without it

	mu   sync.Mutex
	done chan struct{} // closed when the running sweep ends; nil: none is running
}

func (r *roleCheck) init(cluster bool, local func() time.Time) {
	r.cluster, r.local, r.begin = cluster, local, local()
}

func (r *roleCheck) now() int64 { return int64(r.local().Sub(r.begin)) + 1 }

// proven reports whether a read need not ask for the role itself.
func (r *roleCheck) proven() bool {
	return r.cluster || r.refused.Load() == 0 && r.now()-r.asked.Load() < int64(2*roleInterval)
}

// AttendToRole starts a sweep in the background if one is due.
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

// condemn is called after a server refused a write as a replica. It returns when the
// connections that lead to such a server are dropped, or when ctx is done or the link is
// shut.
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

// sweep asks for the role in the background, unless a sweep is running, and returns a
// channel that is closed at its end.
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
// READONLY it asks on all of them, and asks again if one of them said it.
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
			continue // some were not asked and stay suspect
		case suspect != 0 && now-suspect > int64(roleInterval):
			// A connection that was in use at first has been idle since, or has carried
			// writes.
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

// pools returns the pools that have a connection.
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

// askRole asks on at most that many idle connections of a pool, but on one at least. It
// reports whether one of them leads to a replica, and whether all of them were asked. limit
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

// roleQuestion returns a command that changes no data and that a replica refuses.
func (l *Link) roleQuestion(ctx context.Context, field any) redis.Cmder {
	return once{redis.NewCmd(ctx, "hdel", l.opts.Key, field)}
}

// readWithRole does what process does for a read, and asks for the role in the same round
// trip on the same connection.
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
			// A server may refuse a connection before any command, as for a wrong password.
			// go-redis returns that as the error of the pipeline, but of no command.
			return struct{}{}, err
		}
		return struct{}{}, read.Err()
	})
	return err
}

// Ping asks whether the server answers and, outside a Cluster, is a master.
func (l *Link) Ping(ctx context.Context) error {
	if l.role.cluster {
		_, err := Detach(ctx, func() (string, error) { return ask(ctx, l.client, redis.NewStatusCmd(ctx, "ping")).Result() })
		return err
	}
	err := l.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	if Said(err, "READONLY") { // perhaps on this connection only
		l.condemn(ctx)
		err = l.readWithRole(ctx, once{redis.NewStatusCmd(ctx, "ping")})
	}
	return err
}
