package mcptasks

import (
	"context"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The tests of assumptions compare the SDK with these values.
const (
	CodeRejected = codeRejected
	MaxHeld      = maxHeld
	MaxRounds    = maxRounds
)

var (
	ImplementationName = implementationName
	IsURL              = isURL
)

// SetKeepAlive has streams that begin from now on say more often that they live.
func (t *Tasks) SetKeepAlive(d time.Duration) { t.keepAlive = d }

// SaveStateAfter is SaveState in which f runs once the task was looked at.
func (t *Task) SaveStateAfter(ctx context.Context, state []byte, f func()) error {
	return t.e.saveState(ctx, func(c *checkpoint) { f(); c.User = state })
}

// AsStdio has a transport that Transport returned pass for stdin and stdout.
func AsStdio(transport mcp.Transport) mcp.Transport {
	transport.(*shimTransport).stdio = true
	return transport
}

// IsStdio reports whether a transport that Transport returned passes for stdin and stdout.
func IsStdio(transport mcp.Transport) bool { return transport.(*shimTransport).stdio }

// Servers is how many servers t knows something of.
func (t *Tasks) Servers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.servers)
}

// Waiting is how many calls wait for a task.
func (t *Tasks) Waiting() int {
	t.waits.mu.Lock()
	defer t.waits.mu.Unlock()
	return len(t.waits.open)
}

// Joints is how many calls can be joined.
func (t *Tasks) Joints() int {
	t.joints.mu.Lock()
	defer t.joints.mu.Unlock()
	return len(t.joints.open)
}
