package redislink

import (
	"sync"
	"sync/atomic"
	"time"
)

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
