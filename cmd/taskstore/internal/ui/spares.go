package ui

import (
	"net"
	"net/http"
	"sync"
)

// spares holds the connections that have sent no byte. Browsers open them ahead of need, and
// http.Server.Shutdown waits five seconds for each of them to send its first request.
type spares struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// note follows the state of c. Once closeAll has been called, it closes a new one.
func (s *spares) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.conns, c)
	case s.closed:
		_ = c.Close()
	default:
		if s.conns == nil {
			s.conns = map[net.Conn]struct{}{}
		}
		s.conns[c] = struct{}{}
	}
}

// closeAll closes those that are held, and from then on each one that comes.
func (s *spares) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
}
