package mcptasks

import (
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// privateSession returns a session for a handler that may outlive its request. To
// the SDK it looks like the client that made the request; its version, at least
// firstVersion, keeps the SDK from asking that client for input by calls that would
// not be answered.
func (e *execution) privateSession() (*mcp.ServerSession, error) {
	return e.in.nullSession(e.ctx, e, &mcp.InitializeParams{
		ProtocolVersion: e.call.ProtocolVersion(),
		Capabilities:    e.call.ClientCapabilities(),
		ClientInfo:      e.call.ClientInfo(),
	})
}

// nullSession returns a session without a client, for e, which may be nil. The caller
// must close it.
func (in *installation) nullSession(ctx context.Context, e *execution, client *mcp.InitializeParams) (*mcp.ServerSession, error) {
	return in.server.Connect(context.WithoutCancel(ctx), nullTransport{e}, &mcp.ServerSessionOptions{State: &mcp.ServerSessionState{
		InitializeParams: client, InitializedParams: &mcp.InitializedParams{},
	}})
}

// A nullTransport leads to no client, but for the progress and the log messages of
// a call that is not a task: these reach the client on the session of its request.
type nullTransport struct{ e *execution }

func (t nullTransport) Connect(context.Context) (mcp.Connection, error) {
	return &nullConn{e: t.e, replies: make(chan jsonrpc.Message), closed: make(chan struct{})}, nil
}

type nullConn struct {
	e       *execution
	replies chan jsonrpc.Message
	closed  chan struct{}
	once    sync.Once
}

func (c *nullConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-c.replies:
		return m, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write refuses calls: the caller of a dropped one would wait for its answer. The
// extension wants no notifications for a task.
func (c *nullConn) Write(ctx context.Context, m jsonrpc.Message) error {
	call, ok := m.(*jsonrpc.Request)
	if !ok {
		return nil
	}
	if !call.IsCall() {
		return c.e.notify(ctx, call)
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

func (c *nullConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *nullConn) SessionID() string { return "" }

// notify sends a handler's notification on the session of its request, as long as that
// waits for the answer.
func (e *execution) notify(ctx context.Context, n *jsonrpc.Request) error {
	if e == nil || e.request == nil || e.request.Err() != nil || e.task() != nil {
		return nil
	}
	switch n.Method {
	case notificationProgress:
		if e.plain != nil {
			e.plain.progress.end()
		}
		params := new(mcp.ProgressNotificationParams)
		if err := json.Unmarshal(n.Params, params); err != nil {
			return err
		}
		return e.call.Session.NotifyProgress(ctx, params)
	case notificationLog:
		//lint:ignore SA1019 handlers may still send it
		params := new(mcp.LoggingMessageParams)
		if err := json.Unmarshal(n.Params, params); err != nil {
			return err
		}
		//lint:ignore SA1019 as above
		return e.call.Session.Log(ctx, params)
	}
	return nil // of the server's lists, which the client hears of by itself
}
