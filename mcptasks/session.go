package mcptasks

import (
	"context"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// privateSession returns a session with nobody at its other end, for a handler
// that outlives its request. To the SDK it looks like the client that made the
// request; its version, at least firstVersion, keeps the SDK from asking that
// client for input by calls that nobody would answer.
func (in *installation) privateSession(ctx context.Context, call *mcp.CallToolRequest) (*mcp.ServerSession, error) {
	return in.server.Connect(ctx, nobody{}, &mcp.ServerSessionOptions{State: &mcp.ServerSessionState{
		InitializeParams: &mcp.InitializeParams{
			ProtocolVersion: call.ProtocolVersion(),
			Capabilities:    call.ClientCapabilities(),
			ClientInfo:      call.ClientInfo(),
		},
		InitializedParams: &mcp.InitializedParams{},
	}})
}

// nobody is a transport to a client that is not there.
type nobody struct{}

func (nobody) Connect(context.Context) (mcp.Connection, error) {
	return &nobodyConn{replies: make(chan jsonrpc.Message), closed: make(chan struct{})}, nil
}

type nobodyConn struct {
	replies chan jsonrpc.Message
	closed  chan struct{}
	once    sync.Once
}

func (c *nobodyConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-c.replies:
		return m, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write drops notifications and refuses calls: dropped, they would be waited for.
func (c *nobodyConn) Write(ctx context.Context, m jsonrpc.Message) error {
	call, ok := m.(*jsonrpc.Request)
	if !ok || !call.IsCall() {
		return nil
	}
	reply := &jsonrpc.Response{ID: call.ID, Error: &jsonrpc.Error{
		Code: jsonrpc.CodeMethodNotFound, Message: "a task has no client to call",
	}}
	select {
	case c.replies <- reply:
		return nil
	case <-c.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *nobodyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *nobodyConn) SessionID() string { return "" }
