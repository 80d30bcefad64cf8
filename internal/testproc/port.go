package testproc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

const (
	// Loopback is the address on which the servers listen.
	Loopback = "127.0.0.1"

	// The ports are below the range for outgoing connections. In that range a client that
	// dials a killed server could take the server's port for its own end of the connection,
	// and the server could not restart on it.
	firstPort = 20000
	portCount = 12000
)

// lastPort counts up so that one test binary uses each port only once. Otherwise another
// server could get a killed server's port before its restart.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(portCount)) }

// FreePort returns a loopback port that is free at present.
func FreePort() (port int, err error) {
	for range 200 {
		port = firstPort + int(lastPort.Add(1)%portCount)
		if err = Listens(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("testproc: no free port: %w", err)
}

// Listens returns nil if this process can listen on the port.
func Listens(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(Loopback, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
