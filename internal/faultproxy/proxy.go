// Package faultproxy is a proxy between clients and real servers, of Redis or PostgreSQL,
// for tests. It loses replies, cuts connections, delays requests, swallows and splits them,
// at given rates and with a given seed.
//
// A [Proxy] reads whole commands and whole replies, also in pipelines, so each of its
// faults does exactly what it says: a dropped reply answers a command that the server
// executed, and a command that is cut before does not reach it. The proxy serves every kind
// of client: [Proxy.Addr] replaces the address of one server, and [Proxy.Dial] is the
// Dialer of a client that finds its servers by itself, in a Cluster or behind Sentinel.
//
//	p := faultproxy.New()
//	t.Cleanup(p.Close)
//	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: p.Dial})
//	p.Set(faultproxy.Faults{Seed: 1, DropReply: 0.05, Match: faultproxy.Commands("eval", "evalsha")})
//
// [NewPostgres] is New for PostgreSQL. It does not speak TLS, and does not serve
// connections of replicas.
package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// A Proxy passes all traffic on until [Proxy.Set] gives it faults. Its methods may be
// called from any goroutine.
type Proxy struct {
	ctx    context.Context // done once the proxy is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup // sessions and listeners

	protocol func() protocol // of one connection

	mu        sync.Mutex
	faults    Faults
	generator *rand.Rand
	planned   int // entries of faults.Plan that are used up
	era       int // number of calls of Set
	counts    Counts
	listeners map[string]net.Listener // by the server's address
	sessions  map[*session]struct{}
	held      map[*held]struct{}
}

// New returns a proxy without faults. Close the clients before the proxy.
func New() *Proxy {
	p := &Proxy{
		protocol:  func() protocol { return resp{} },
		listeners: make(map[string]net.Listener),
		sessions:  make(map[*session]struct{}),
		held:      make(map[*held]struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.Set(Faults{})
	return p
}

// Close ends all connections, discards the requests that are held back, and returns when
// all of the proxy's goroutines have ended.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.cancel()
	for _, l := range p.listeners {
		l.Close()
	}
	p.mu.Unlock()
	p.Cut()
	p.wg.Wait()
}

// Cut ends all connections, like the restart of a proxy. Requests that the server has not
// read yet are lost. Requests that are held back stay held: their clients' connections were
// cut before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		s.client.Close()
		if p.ctx.Err() != nil || !s.holding {
			s.server.Close()
		}
	}
}

// Addr returns the address through which clients reach the server at addr. While that
// server is down a client can still connect, and then loses the connection at once.
func (p *Proxy) Addr(addr string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return "", errClosed
	}
	if l, ok := p.listeners[addr]; ok {
		return l.Addr().String(), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("faultproxy: %w", err)
	}
	p.listeners[addr] = l
	p.wg.Go(func() { p.accept(l, addr) })
	return l.Addr().String(), nil
}

func (p *Proxy) accept(l net.Listener, addr string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() {
			server, err := new(net.Dialer).DialContext(p.ctx, "tcp", addr)
			if err != nil {
				client.Close()
				return
			}
			p.serve(client, server)
		})
	}
}

// Dial connects to the server at addr through the proxy; it fits the Dialer of go-redis's
// options. An unreachable server gives the same error as without the proxy.
func (p *Proxy) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	server, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, far, err := pair(ctx)
	if err != nil {
		server.Close()
		return nil, err
	}
	if !p.serve(far, server) {
		near.Close()
		return nil, errClosed
	}
	return near, nil
}

// pair returns the two ends of a TCP connection. An in-memory pipe would not do, because
// clients inspect their connections with system calls.
func pair(ctx context.Context) (near, far net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	for {
		if far, err = l.Accept(); err != nil {
			near.Close()
			return nil, nil, err
		}
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return near, far, nil
		}
		far.Close() // another program's
	}
}

// A protocol reads the messages of one connection.
type protocol interface {
	// readRequest reads one command: its raw bytes, and its arguments, at least one.
	readRequest(r *bufio.Reader) (raw []byte, args []string, err error)
	// readReply reads the raw bytes of the reply to a command. push says that it is a
	// message, which answers no command.
	readReply(r *bufio.Reader) (raw []byte, push bool, err error)
	// subscribes reports whether messages may follow a command.
	subscribes(args []string) bool
}

// resp is the protocol of Redis.
type resp struct{}

func (resp) readRequest(r *bufio.Reader) ([]byte, []string, error) { return ReadRequest(r) }
func (resp) readReply(r *bufio.Reader) ([]byte, bool, error)       { return readReply(r) }
func (resp) subscribes(args []string) bool                         { return subscribes(args) }

var errClosed = errors.New("faultproxy: the proxy is closed")

// serve starts to proxy a connection and returns at once. If the proxy is closed, it closes
// both ends and returns false.
func (p *Proxy) serve(client, server net.Conn) bool {
	s := newSession(p, client, server)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		client.Close()
		server.Close()
		return false
	}
	p.sessions[s] = struct{}{}
	p.wg.Go(func() {
		var replies sync.WaitGroup
		replies.Go(s.replies)
		s.requests()
		replies.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.sessions, s)
	})
	return true
}
