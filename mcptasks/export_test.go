package mcptasks

import (
	"context"
	"time"
)

// SetKeepAlive has streams that begin from now on say more often that they live.
func (t *Tasks) SetKeepAlive(d time.Duration) { t.keepAlive = d }

// SaveStateAfter is SaveState in which f runs once the task was looked at.
func (t *Task) SaveStateAfter(ctx context.Context, state []byte, f func()) error {
	return t.e.saveState(ctx, func(c *checkpoint) { f(); c.User = state })
}
