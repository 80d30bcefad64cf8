package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/taskstore/taskstore/internal/testproc"
)

const (
	loopback = testproc.Loopback

	// The nodes of a Cluster before Redis 7.0 speak to each other on the client port plus
	// this offset. So their ports come from a range below the others, in which both are
	// free.
	busOffset     = 10000
	firstNodePort = 8000
	nodePortCount = 2000
)

// lastNodePort counts up so that one test binary uses each port only once.
var lastNodePort atomic.Uint32

func init() { lastNodePort.Store(rand.Uint32N(nodePortCount)) }

// freeNodePort is testproc.FreePort for a node of a Cluster before Redis 7.0: its bus port
// is free as well.
func freeNodePort() (port int, err error) {
	for range 200 {
		port = firstNodePort + int(lastNodePort.Add(1)%nodePortCount)
		if err = errors.Join(testproc.Listens(port), testproc.Listens(port+busOffset)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}
