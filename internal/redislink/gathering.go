package redislink

import (
	"sync"
	"sync/atomic"
	"time"
)

// A gathering makes commands use different connections: each command holds its connection
// until all of them have one, or until the limit. The client asks for an argument's bytes
// as it writes them, and by then it has the connection.
type gathering struct {
	missing atomic.Int64
	all     chan struct{}
	late    atomic.Bool // a command reached the limit
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

// String is for hooks that trace commands.
func (g *gathered) String() string { return "role" }
