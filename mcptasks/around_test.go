package mcptasks_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

type spanKey struct{}

// Options.Around wraps every run, in a request or in the background, and its return value
// is the result. Middleware sees the requests alone.
func TestAroundIsAroundEveryRun(t *testing.T) {
	for way, assemble := range ways {
		t.Run(way, func(t *testing.T) {
			var d diary
			opts := fast()
			opts.Around = func(next mcp.MethodHandler) mcp.MethodHandler {
				return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
					owner, _ := mcptasks.Caller(ctx)
					as := "a task"
					if mcptasks.FromContext(ctx) == nil {
						as = "a call"
					}
					d.add(method + " of " + owner + " as " + as)
					res, err := next(context.WithValue(ctx, spanKey{}, "span"), method, req)
					if result, ok := res.(*mcp.CallToolResult); ok && len(result.Content) > 0 {
						said := result.Content[0].(*mcp.TextContent)
						said.Text = strings.ReplaceAll(said.Text, "secret", "***")
					}
					return res, err
				}
			}
			handler := func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				if ctx.Value(spanKey{}) != "span" {
					return text("no span"), nil
				}
				if len(req.Params.InputResponses) == 0 {
					return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit("sure?")}}, nil
				}
				return text("the secret"), nil
			}
			counts := func(next mcp.MethodHandler) mcp.MethodHandler {
				return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
					if method == "tools/call" {
						d.add("a request")
					}
					return next(ctx, method, req)
				}
			}
			tasks, server, err := assemble(memory(), opts, nil, handler, []mcp.Middleware{counts}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := serve(t, tasks, server).as("alice")
			id := c.create("work", nil)
			c.until(id, "input_required")
			c.update(id, map[string]any{"confirm": accept(nil)})
			if got := textOf(c.until(id, "completed")); got != "the ***" {
				t.Errorf("the task ended with %q", got)
			}
			if got, want := d.taken(), []string{"a request", "tools/call of alice as a task", "tools/call of alice as a task"}; !slices.Equal(got, want) {
				t.Errorf("as a task: %q, not %q", got, want)
			}
			c.legacy = true
			answered := map[string]any{"name": "work", "arguments": map[string]any{}, "inputResponses": map[string]any{"confirm": accept(nil)}}
			if got := textOf(c.do("tools/call", answered)); got != "the ***" {
				t.Errorf("without the extension %q", got)
			}
			if got, want := d.taken(), []string{"a request", "tools/call of alice as a call"}; !slices.Equal(got, want) {
				t.Errorf("without the extension: %q, not %q", got, want)
			}
		})
	}
}

// A run that no request belongs to needs no token to pass: middleware that demands one is
// not asked.
func TestARunAfterACrashPassesNoMiddleware(t *testing.T) {
	for way, assemble := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				around := func(next mcp.MethodHandler) mcp.MethodHandler {
					return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
						d.add("around")
						return next(ctx, method, req)
					}
				}
				store, opts := memory(), &mcptasks.Options{Around: around}
				id := lose(t, store, opts, "work")
				tasks, server, err := assemble(store, opts, &mcptasks.ToolOptions{Retry: true}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
					return text("done"), nil
				}, []mcp.Middleware{d.middleware("inner")}, []mcp.Middleware{d.middleware("outer")})
				if err != nil {
					t.Fatal(err)
				}
				r := directTo(t, tasks, server)
				stop := r.run(t.Context())
				time.Sleep(2 * time.Minute)
				if got := d.taken(); !slices.Equal(got, []string{"around"}) {
					t.Errorf("around the run: %q", got)
				}
				if got := r.as("alice").get(id); got.Result["status"] != "completed" {
					t.Errorf("the task: %v", got)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A call that Around refuses before the handler is called makes no task.
func TestAroundRefusesBeforeThereIsATask(t *testing.T) {
	for _, way := range []string{"AddTool", "AddRawTool"} {
		opts := fast()
		opts.Around = func(mcp.MethodHandler) mcp.MethodHandler {
			return func(context.Context, string, mcp.Request) (mcp.Result, error) {
				return nil, &jsonrpc.Error{Code: -32001, Message: "no"}
			}
		}
		store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
		tasks, server, err := ways[way](store, opts, nil, raw("never"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := serve(t, tasks, server).as("alice").call("work", nil); got.Error == nil || got.Error.Code != -32001 {
			t.Errorf("%s: %v", way, got)
		}
		if calls := store.taken(); calls["PutIfVersion"]+calls["PutBatch"] != 0 {
			t.Errorf("%s: the store was asked %v", way, calls)
		}
	}
}
