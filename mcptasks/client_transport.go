package mcptasks

import (
	"context"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ClientTransport prepares a transport, such as stdio, for [InstallClient]. It is
// not for the SDK's StreamableClientTransport; see [RoundTripper].
func ClientTransport(transport mcp.Transport) mcp.Transport { return clientTransport{transport} }

type clientTransport struct{ mcp.Transport }

func (t clientTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &clientConn{Connection: conn, exchanges: make(map[jsonrpc.ID]*exchange)}, nil
}

type clientConn struct {
	mcp.Connection

	mu        sync.Mutex
	exchanges map[jsonrpc.ID]*exchange
}

func (c *clientConn) Write(ctx context.Context, m jsonrpc.Message) error {
	if req, ok := m.(*jsonrpc.Request); ok && req.IsCall() {
		if x := exchangeOf(ctx); x != nil && x.method == req.Method {
			x.begin(func() { c.take(req.ID) })
			c.mu.Lock()
			c.exchanges[req.ID] = x
			c.mu.Unlock()
		}
	}
	return c.Connection.Write(ctx, m)
}

// take removes the exchange of a request.
func (c *clientConn) take(id jsonrpc.ID) *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.exchanges[id]
	delete(c.exchanges, id)
	return x
}

func (c *clientConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	m, err := c.Connection.Read(ctx)
	r, ok := m.(*jsonrpc.Response)
	if err != nil || !ok {
		return m, err
	}
	x := c.take(r.ID)
	if x == nil {
		return m, nil
	}
	if !x.inspect(r.Result) || r.Error != nil {
		return m, nil
	}
	return &jsonrpc.Response{ID: r.ID, Result: emptyResult, Extra: r.Extra}, nil
}
