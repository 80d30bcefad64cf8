package mcptasks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// Later calls make the server forget tasks with unanswered questions, once these tasks
// have expired.
func TestUnansweredQuestionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := patient()
		opts.Tasks.DefaultTTL = 2 * time.Minute
		r := startDirect(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "tool"}, func(context.Context, *mcp.CallToolRequest, map[string]any) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit("?")}}, nil, nil
			}, &mcptasks.ToolOptions{Repeats: mcptasks.RepeatsJoin})
		})
		c := r.as("alice")
		c.legacy, c.capabilities = true, map[string]any{}
		for n := range 5 {
			if got := c.call("tool", map[string]any{"n": n}); got.Result["structuredContent"] == nil {
				t.Fatal(got)
			}
		}
		synctest.Wait()
		if n := r.tasks.Joints(); n != 5 {
			t.Fatalf("%d calls can be joined", n)
		}
		time.Sleep(3 * time.Minute)
		c.call("tool", map[string]any{"n": 5})
		synctest.Wait()
		if n := r.tasks.Joints(); n != 1 {
			t.Errorf("%d calls can be joined", n)
		}
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
