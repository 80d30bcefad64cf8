package mcptasks

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Transport is for a server on stdio, or on any other transport with one connection for
// all: connect the server to the returned transport. It serves subscriptions/listen as
// [Tasks.Handler] does over HTTP.
func (t *Tasks) Transport(transport mcp.Transport) mcp.Transport {
	return &shimTransport{transport, t, isStdio(transport)}
}

type shimTransport struct {
	mcp.Transport
	tasks *Tasks
	stdio bool
}

func (t *shimTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &shimConn{
		Connection: conn, tasks: t.tasks, stdio: t.stdio, open: make(map[jsonrpc.ID]*subscription),
	}, nil
}

type shimConn struct {
	mcp.Connection
	tasks *Tasks
	stdio bool // as onStdio finds it

	mu   sync.Mutex
	open map[jsonrpc.ID]*subscription // nil: closed
}

func (c *shimConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	for {
		m, err := c.Connection.Read(ctx)
		if err != nil {
			return nil, err
		}
		req, ok := m.(*jsonrpc.Request)
		if !ok || req.Method != methodListen || !req.IsCall() || c.find(req.ID) != nil {
			return m, nil // the SDK drops a request whose id is in use
		}
		s, changed, refusal := c.tasks.subscribe(req)
		if refusal != nil {
			if err := c.Connection.Write(ctx, &jsonrpc.Response{ID: req.ID, Error: refusal}); err != nil {
				return nil, err
			}
			continue
		}
		if s != nil {
			s.push = func(ctx context.Context, params json.RawMessage) error {
				return c.Connection.Write(ctx, &jsonrpc.Request{Method: notificationTasks, Params: params})
			}
			c.add(s)
		}
		return changed, nil
	}
}

func (c *shimConn) Write(ctx context.Context, m jsonrpc.Message) error {
	switch m := m.(type) {
	case *jsonrpc.Response:
		c.end(m.ID)
	case *jsonrpc.Request:
		if m.Method != notificationAck {
			break
		}
		s := c.find(subscriptionID(m.Params))
		if s == nil {
			break
		}
		changed := *m
		changed.Params = s.acknowledge(m.Params)
		if err := c.Connection.Write(ctx, &changed); err != nil {
			return err
		}
		s.sent()
		return nil
	}
	return c.Connection.Write(ctx, m)
}

func (c *shimConn) find(id jsonrpc.ID) *subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

func (c *shimConn) add(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.tasks.subscriptions.close(s)
		return
	}
	c.open[s.id] = s
}

// end closes the subscription of a request that gets its response.
func (c *shimConn) end(id jsonrpc.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.open[id]; s != nil {
		c.tasks.subscriptions.close(s)
		delete(c.open, id)
	}
}

// Close also closes the subscriptions of the connection.
func (c *shimConn) Close() error {
	c.mu.Lock()
	for _, s := range c.open {
		c.tasks.subscriptions.close(s)
	}
	c.open = nil
	c.mu.Unlock()
	return c.Connection.Close()
}
