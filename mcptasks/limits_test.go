package mcptasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// A caller with too many tasks gets an error with a remedy from a tool that has to be a
// task. Other callers and other tools go on.
func TestTooManyTasks(t *testing.T) {
	noLeaks(t)
	opts := fast()
	opts.Tasks.MaxActive, opts.Tasks.MaxTasks = 1, 3
	release := make(chan struct{})
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		statusTools(release)(tasks, server)
		add(tasks, server, "strict", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			t.Error("a handler ran")
			return nil, nil, nil
		}, &mcptasks.ToolOptions{Required: true})
		add(tasks, server, "promote", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			if err := mcptasks.FromContext(ctx).Promote(ctx); !errors.Is(err, domain.ErrLimit) {
				t.Errorf("Promote: %v", err)
			}
			return text("done all the same"), nil, nil
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	alice, bob := r.as("alice"), r.as("bob")
	refused := func(want string) {
		t.Helper()
		got := alice.call("strict", nil)
		if got.Error == nil || got.Error.Code != -32603 || got.Error.Message != want {
			t.Errorf("one task more: %v", got)
		}
	}
	const active = "too many tasks that have not ended: at most 1; wait until one ends, or cancel one"
	for range 2 {
		id := alice.create("work", nil)
		refused(active)
		alice.cancel(id)
		alice.until(id, "cancelled")
	}
	parked := alice.create("ask", nil)
	alice.until(parked, "input_required")
	alice.cancel(parked)
	refused("too many tasks: at most 3 are kept; wait until older ones expire")

	id := bob.create("work", nil)
	if got := bob.call("promote", nil); textOf(got) != "done all the same" {
		t.Errorf("a call that runs already: %v", got)
	}
	bob.cancel(id)
	bob.until(id, "cancelled")
	if log := r.log.String(); strings.Contains(log, "limit") {
		t.Errorf("the caller's error is logged: %s", log)
	}
}
