package mcptasks

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Transport is the edge of a server on stdio, or on any other transport with one
// connection for all: connect the server to what it returns. It does for
// subscriptions/listen what [Tasks.Handler] does over HTTP.
func (t *Tasks) Transport(transport mcp.Transport) mcp.Transport {
	return &edgeTransport{transport, t}
}

type edgeTransport struct {
	mcp.Transport
	tasks *Tasks
}

func (e *edgeTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := e.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &edgeConn{Connection: conn, tasks: e.tasks, listens: make(map[string]*listen)}, nil
}

type edgeConn struct {
	mcp.Connection
	tasks *Tasks

	mu      sync.Mutex
	listens map[string]*listen // by request id
}

func (c *edgeConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	for {
		m, err := c.Connection.Read(ctx)
		if err != nil {
			return nil, err
		}
		req, ok := m.(*jsonrpc.Request)
		if !ok || req.Method != methodListen || !req.IsCall() {
			return m, nil
		}
		id := mustMarshal(req.ID.Raw())
		l, params, err := c.tasks.newListen(id, req.Params)
		if err != nil {
			if err := c.Connection.Write(ctx, &jsonrpc.Response{ID: req.ID, Error: err}); err != nil {
				return nil, err
			}
			continue
		}
		if l == nil {
			return m, nil
		}
		l.push = func(ctx context.Context, params json.RawMessage) error {
			return c.Connection.Write(ctx, &jsonrpc.Request{Method: notificationTasks, Params: params})
		}
		l.forget = func() { c.take(id, l) }
		c.mu.Lock()
		other := c.listens[string(id)]
		c.listens[string(id)] = l
		c.mu.Unlock()
		if other != nil {
			c.tasks.drop(other) // its client reuses ids
		}
		changed := *req
		changed.Params = params
		return &changed, nil
	}
}

func (c *edgeConn) Write(ctx context.Context, m jsonrpc.Message) error {
	switch m := m.(type) {
	case *jsonrpc.Response:
		// One that the SDK refused never reached the middleware.
		if l := c.take(mustMarshal(m.ID.Raw()), nil); l != nil {
			c.tasks.drop(l)
		}
	case *jsonrpc.Request:
		if m.Method != notificationAck {
			break
		}
		var params struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		}
		_ = json.Unmarshal(m.Params, &params)
		c.mu.Lock()
		l := c.listens[string(params.Meta[mcp.MetaKeySubscriptionID])]
		c.mu.Unlock()
		if l == nil {
			break
		}
		changed := *m
		changed.Params = l.acknowledge(m.Params)
		if err := c.Connection.Write(ctx, &changed); err != nil {
			return err
		}
		l.sent()
		return nil
	}
	return c.Connection.Write(ctx, m)
}

// take removes the listen of a request: the one given, or with nil any.
func (c *edgeConn) take(id []byte, only *listen) *listen {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.listens[string(id)]
	if only != nil && l != only {
		return nil
	}
	delete(c.listens, string(id))
	return l
}

func (c *edgeConn) Close() error {
	c.mu.Lock()
	for id, l := range c.listens {
		c.tasks.drop(l)
		delete(c.listens, id)
	}
	c.mu.Unlock()
	return c.Connection.Close()
}
