package mcptasks

import (
	"context"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A progress forwards the messages of a task to a plain client that waits. Nil drops
// them.
type progress struct {
	ctx     context.Context
	session *mcp.ServerSession
	token   any

	mu    sync.Mutex
	steps float64
	last  string
	over  bool
}

// newProgress returns the progress for the client of a call, nil if it did not ask for
// it.
func newProgress(ctx context.Context, call *mcp.CallToolRequest) *progress {
	token := call.Params.GetProgressToken()
	if token == nil || call.Session == nil {
		return nil
	}
	return &progress{ctx: ctx, session: call.Session, token: token}
}

// say sends a status message that is new.
func (p *progress) say(message string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || message == "" || message == p.last {
		return
	}
	p.steps++
	p.last = message
	_ = p.session.NotifyProgress(p.ctx, &mcp.ProgressNotificationParams{ProgressToken: p.token, Progress: p.steps, Message: message})
}

// end stops the messages: the call is answered, or the handler reports progress itself,
// with numbers of its own.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}
