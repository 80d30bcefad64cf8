package faultproxy

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A session is a client's connection and the one to the server that belongs to it.
type session struct {
	proxy          *Proxy
	protocol       protocol
	client, server net.Conn
	holding        bool        // the client's connection is cut, the server's is needed; under proxy.mu
	swallowed      atomic.Bool // by BlackHole
	cut            bool        // after a reply that was dropped; of the goroutine in replies

	mu         sync.Mutex
	changed    *sync.Cond
	pending    []decision // of the commands that the server has not answered yet
	subscribed []string   // the command that subscribed; messages follow from now on
	over       bool       // the server sends no more answers
}

func newSession(p *Proxy, client, server net.Conn) *session {
	s := &session{proxy: p, protocol: p.protocol(), client: client, server: server}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// requests forwards the client's commands.
func (s *session) requests() {
	defer s.endRequests()
	r, w := bufio.NewReader(s.client), bufio.NewWriter(s.server)
	for {
		raw, args, err := s.protocol.readRequest(r)
		if err != nil {
			return
		}
		d := s.proxy.decide(args)
		switch d.fault {
		case CutBefore:
			s.proxy.count(func(c *Counts) { c.CutBefore++ })
			w.Flush()
			s.drain()
			s.client.Close()
			return
		case Delay:
			h := s.proxy.hold(d)
			w.Flush()
			s.drain()
			s.deliverLater(h, d, raw)
			return
		case BlackHole:
			w.Flush()
			s.drain()
			s.proxy.swallow(s, d)
			io.Copy(io.Discard, s.client)
			return
		}
		s.expect(args, d)
		if d.split {
			w.Flush()
			s.writeSplit(s.server, raw, d.random)
			continue
		}
		w.Write(raw)
		if r.Buffered() == 0 { // as the client does: a pipeline in one write
			w.Flush()
		}
	}
}

// endRequests lets the server finish the commands that it was sent, and then close.
func (s *session) endRequests() {
	if c, ok := s.server.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	} else {
		s.server.Close()
	}
}

// expect records that the server will answer a command.
func (s *session) expect(args []string, d decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribed == nil && s.protocol.subscribes(args) {
		s.subscribed = args
	}
	if s.subscribed == nil {
		s.pending = append(s.pending, d)
	}
}

// drain waits until the server has answered all commands that it was sent.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 && !s.over {
		s.changed.Wait()
	}
}

// deliverLater cuts the client off, and sends its command once the hold is over.
func (s *session) deliverLater(h *held, d decision, raw []byte) {
	s.proxy.mu.Lock()
	s.holding = true
	s.proxy.mu.Unlock()
	defer s.proxy.letGo(h)
	s.client.Close()
	if !s.proxy.wait(h, d) {
		return
	}
	s.expect(nil, d)
	if _, err := s.server.Write(raw); err == nil {
		s.drain()
	}
}

// replies passes on the server's replies.
func (s *session) replies() {
	defer s.endReplies()
	r, w := bufio.NewReader(s.server), bufio.NewWriter(s.client)
	for {
		raw, push, err := s.protocol.readReply(r)
		if err != nil {
			w.Flush()
			return
		}
		d, last, answer := s.next(push)
		s.pass(w, raw, d)
		// A drain that waits for the last reply will cut the connection.
		if last || r.Buffered() == 0 {
			w.Flush()
		}
		if answer {
			s.answered(d)
		}
	}
}

// pass passes on a reply or a message, unless its fault prevents that.
func (s *session) pass(w *bufio.Writer, raw []byte, d decision) {
	switch {
	case d.fault == Delay:
		s.proxy.count(func(c *Counts) { c.LateArrivals++ })
	case s.cut || s.swallowed.Load():
	case d.fault == DropReply || d.fault == CutBefore:
		s.proxy.count(func(c *Counts) {
			if d.fault == DropReply {
				c.RepliesLost++
			} else {
				c.CutBefore++
			}
		})
		w.Flush()
		s.client.Close()
		s.cut = true
	case d.fault == BlackHole:
		w.Flush()
		s.proxy.swallow(s, d)
	case d.split:
		w.Flush()
		s.writeSplit(s.client, raw, d.random)
	default:
		w.Write(raw)
	}
}

// next returns the decision on the server's latest reply, whether that answers a command,
// and whether it is the last one pending.
func (s *session) next(push bool) (d decision, last, answer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !push && len(s.pending) > 0 {
		return s.pending[0], len(s.pending) == 1, true
	}
	if s.subscribed == nil {
		return decision{}, false, false
	}
	if d = s.proxy.decide(s.subscribed); d.fault == Delay {
		d.fault = None
	}
	return d, false, false
}

// answered records that a command was answered.
func (s *session) answered(d decision) {
	s.mu.Lock()
	s.pending = s.pending[1:]
	s.changed.Broadcast()
	s.mu.Unlock()
	if d.fault == None && !s.cut && !s.swallowed.Load() {
		s.proxy.noteAnswer(d.operation)
	}
}

func (s *session) endReplies() {
	s.mu.Lock()
	s.over = true
	s.changed.Broadcast()
	s.mu.Unlock()
	s.client.Close()
	s.server.Close()
}

func (s *session) writeSplit(to io.Writer, raw []byte, random *rand.Rand) {
	s.proxy.count(func(c *Counts) { c.Split++ })
	writeSplit(to, raw, random)
}

// writeSplit writes raw in pieces of random length, with pauses that let the other side see
// them as such. The first bytes are cut finest, because most of the protocol is there.
func writeSplit(to io.Writer, raw []byte, random *rand.Rand) {
	for pieces := 0; len(raw) > 0; pieces++ {
		n := len(raw)
		if pieces < 8 {
			n = 1 + random.IntN(min(n, 1<<pieces))
		}
		if _, err := to.Write(raw[:n]); err != nil {
			return
		}
		raw = raw[n:]
		time.Sleep(20 * time.Microsecond)
	}
}
