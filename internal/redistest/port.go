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

	// The nodes of a Cluster before Redis 7.0 speak to each other on the port that
	// lies above the clients' by this much. So theirs are chosen below the others,
	// where both are out of everybody's way.
	busOffset     = 10000
	firstNodePort = 8000
	nodePortCount = 2000
)

// lastNodePort counts up so that one test binary never uses a port twice.
var lastNodePort atomic.Uint32

func init() { lastNodePort.Store(rand.Uint32N(nodePortCount)) }

// freeNodePort is testproc.FreePort for a node of a Cluster before Redis 7.0, whose bus
// port is free as well.
func freeNodePort() (port int, err error) {
	for range 200 {
		port = firstNodePort + int(lastNodePort.Add(1)%nodePortCount)
		if err = errors.Join(testproc.Listens(port), testproc.Listens(port+busOffset)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}
