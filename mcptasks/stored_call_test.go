package mcptasks_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// The store keeps a call as middleware has let it pass, so that each run gets the same
// one: middleware is around the request alone.
func TestTheStoredCallIsTheOneThatMiddlewareLetPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		saw := make(chan string, 10)
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "work"}, func(ctx context.Context, req *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any, error) {
				x, _ := in["x"].(string)
				tag, _ := req.Params.Meta["tag"].(string)
				saw <- x + " " + tag
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}, &mcptasks.ToolOptions{Retry: true})
			server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
				return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
					if call, ok := req.(*mcp.CallToolRequest); ok {
						call.Params.Arguments = []byte(strings.Replace(string(call.Params.Arguments), `"x":"`, `"x":"+`, 1))
						tag, _ := call.Params.Meta["tag"].(string)
						call.Params.Meta["tag"] = tag + "+"
					}
					return next(ctx, method, req)
				}
			})
		}
		for i := range 3 {
			r := startDirect(t, store, &mcptasks.Options{}, tools)
			stop := r.run(t.Context())
			if i == 0 {
				r.as("alice").call("work", map[string]any{"x": "v"})
			}
			if got := <-saw; got != "+v +" {
				t.Errorf("call %d of the handler saw %q", i+1, got)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
	})
}

// A handler may write to its request while the call becomes a task.
func TestAHandlerOwnsItsRequest(t *testing.T) {
	c := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			for i := 0; mcptasks.FromContext(ctx).ID() == ""; i++ {
				req.Params.Meta["seen"] = i
				req.Params.Arguments = nil
			}
			return text("done"), nil, nil
		}, &mcptasks.ToolOptions{Grace: time.Millisecond})
	}).as("alice")
	c.until(c.create("work", nil), "completed")
}
