package faultproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	patience = 20 * time.Second
	tick     = time.Millisecond
)

// A counter is a server that knows a few commands of Redis and notes them all.
type counter struct {
	net.Listener
	mu          sync.Mutex
	n           int
	subscribers []net.Conn
}

func startCounter(t *testing.T) *counter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &counter{Listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return c
}

func (c *counter) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		_, args, err := ReadRequest(r)
		if err != nil {
			return
		}
		c.mu.Lock()
		switch args[0] {
		case "INCR":
			c.n++
			fmt.Fprintf(conn, ":%d\r\n", c.n)
		case "ECHO":
			fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(args[1]), args[1])
		case "SUBSCRIBE":
			c.subscribers = append(c.subscribers, conn)
			fmt.Fprint(conn, "+subscribed\r\n")
		case "PUBLISH":
			for _, s := range c.subscribers {
				fmt.Fprintf(s, ">2\r\n+message\r\n+%s\r\n", args[1])
			}
			fmt.Fprintf(conn, ":%d\r\n", len(c.subscribers))
		}
		c.mu.Unlock()
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// A conn is a connection through the proxy.
type conn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func start(t *testing.T) (*Proxy, *counter, func() conn) {
	server := startCounter(t)
	p := New()
	t.Cleanup(p.Close)
	return p, server, func() conn {
		c, err := p.Dial(context.Background(), "tcp", server.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		return conn{t, c, bufio.NewReader(c)}
	}
}

func (c conn) send(text string) {
	_, err := c.Write([]byte(text))
	require.NoError(c.t, err)
}

// receives checks the next reply.
func (c conn) receives(want string) {
	c.t.Helper()
	raw, _, err := readReply(c.r)
	require.NoError(c.t, err)
	require.Equal(c.t, want, string(raw))
}

// isCut checks that the connection ends, before its deadline.
func (c conn) isCut() {
	c.t.Helper()
	raw, _, err := readReply(c.r)
	require.Error(c.t, err, "received %q", raw)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the connection is still open")
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, tick)
}
