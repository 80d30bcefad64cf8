package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

const (
	loopback = "127.0.0.1"

	// The ports are below the range from which systems give ports to outgoing
	// connections. In that range, a client that dials a killed server could take
	// the server's port for its own end of the connection, and the server could
	// not be restarted on it.
	firstPort = 20000
	portCount = 12000

	// The nodes of a Cluster before Redis 7.0 speak to each other on the port that
	// lies above the clients' by this much. So theirs are chosen below the others,
	// where both are out of everybody's way.
	busOffset     = 10000
	firstNodePort = 8000
	nodePortCount = 2000
)

// lastPort counts up so that one test binary never uses a port twice, which
// could give a killed server's port to another one before its restart.
var lastPort, lastNodePort = startAt(rand.Uint32N(portCount)), startAt(rand.Uint32N(nodePortCount))

func startAt(n uint32) *atomic.Uint32 {
	var counter atomic.Uint32
	counter.Store(n)
	return &counter
}

// freePort returns a loopback port on which nothing listens at present.
func freePort() (port int, err error) {
	for range 200 {
		port = firstPort + int(lastPort.Add(1)%portCount)
		if err = listens(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}

// freeNodePort is freePort for a node of a Cluster before Redis 7.0, whose bus
// port is free as well.
func freeNodePort() (port int, err error) {
	for range 200 {
		port = firstNodePort + int(lastNodePort.Add(1)%nodePortCount)
		if err = errors.Join(listens(port), listens(port+busOffset)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}

// listens returns nil if this process can listen on the port.
func listens(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
