package redistest

import (
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
)

// lastPort counts up so that one test binary never uses a port twice, which
// could give a killed server's port to another one before its restart.
var lastPort = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(portCount))
	return &n
}()

// freePort returns a loopback port on which nothing listens at present.
func freePort() (int, error) {
	var err error
	for range 200 {
		port := firstPort + int(lastPort.Add(1)%portCount)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}
