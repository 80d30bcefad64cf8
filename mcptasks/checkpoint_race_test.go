package mcptasks_test

import (
	"context"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A checkpoint that is saved while the call becomes a task is stored, and not only
// kept for a task that is there already.
func TestACheckpointIsStoredWhileItsTaskIsMade(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			err := task.SaveStateAfter(ctx, []byte("half"), func() {
				if err := task.Promote(ctx); err != nil {
					t.Error(err)
				}
			})
			if err != nil || string(task.State()) != "half" {
				t.Errorf("SaveState: %v", err)
			}
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	c := r.as("alice")
	id := c.create("work", nil)
	for n := 0; ; n++ {
		task, err := r.tasks.Store().Get(t.Context(), "n:alice", id)
		if err != nil {
			t.Fatal(err)
		}
		if string(task.State) == `{"user":"aGFsZg=="}` {
			break
		}
		if n == 1000 {
			t.Fatalf("the stored checkpoint is %q", task.State)
		}
		time.Sleep(time.Millisecond)
	}
	c.cancel(id)
	c.until(id, "cancelled")
}
