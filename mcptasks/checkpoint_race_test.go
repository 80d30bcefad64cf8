package mcptasks_test

import (
	"context"
	"errors"
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

// Of checkpoints that are saved at the same time the later one stays, and it is the
// caller's bytes as they were.
func TestTheLastCheckpointStays(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			saving, goOn, first, second := make(chan struct{}), make(chan struct{}), make(chan error, 1), make(chan error, 1)
			go func() {
				first <- task.SaveStateAfter(ctx, []byte("one"), func() { close(saving); <-goOn })
			}()
			<-saving
			state := []byte("two")
			go func() { second <- task.SaveState(ctx, state) }()
			select {
			case <-second:
				t.Error("the second did not wait for the first")
			case <-time.After(50 * time.Millisecond): // the wait can miss a failure, but reports no false one
			}
			close(goOn)
			if err := errors.Join(<-first, <-second); err != nil {
				t.Error(err)
			}
			copy(state, "xxx")
			if got := string(task.State()); got != "two" {
				t.Errorf("the state is %q", got)
			}
			return text("done"), nil, nil
		}, nil)
	})
	c := r.as("alice")
	c.until(c.create("work", nil), "completed")
}
