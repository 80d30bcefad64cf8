package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

var anyObject = map[string]any{"type": "object"}

// ways are the three in which a tool of a server can have tasks. Each adds the tool and
// calls Install, with middleware before it and after it as far as the way allows.
var ways = map[string]func(store taskstore.StorageBackend, opts *mcptasks.Options, tool *mcptasks.ToolOptions, h mcp.ToolHandler, before, after []mcp.Middleware) (*mcptasks.Tasks, *mcp.Server, error){
	"AddTool": func(store taskstore.StorageBackend, opts *mcptasks.Options, tool *mcptasks.ToolOptions, h mcp.ToolHandler, before, after []mcp.Middleware) (*mcptasks.Tasks, *mcp.Server, error) {
		return assembleAround(store, opts, before, after, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				res, err := h(ctx, req)
				return res, nil, err
			}, tool)
		})
	},
	"AddRawTool": func(store taskstore.StorageBackend, opts *mcptasks.Options, tool *mcptasks.ToolOptions, h mcp.ToolHandler, before, after []mcp.Middleware) (*mcptasks.Tasks, *mcp.Server, error) {
		return assembleAround(store, opts, before, after, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddRawTool(tasks, server, &mcp.Tool{Name: "work", InputSchema: anyObject}, h, tool)
		})
	},
	"Options.Tool": func(store taskstore.StorageBackend, opts *mcptasks.Options, tool *mcptasks.ToolOptions, h mcp.ToolHandler, before, after []mcp.Middleware) (*mcptasks.Tasks, *mcp.Server, error) {
		opts.Tool = func(name string) *mcptasks.ToolOptions {
			if name != "work" {
				return nil
			}
			if tool == nil {
				return &mcptasks.ToolOptions{}
			}
			return tool
		}
		return assembleAround(store, opts, nil, slices.Concat(before, after), func(_ *mcptasks.Tasks, server *mcp.Server) {
			server.AddTool(&mcp.Tool{Name: "work", InputSchema: anyObject}, h)
		})
	},
}

// assembleAround makes a server with middleware that is added before Install and after.
func assembleAround(store taskstore.StorageBackend, opts *mcptasks.Options, before, after []mcp.Middleware, tools func(*mcptasks.Tasks, *mcp.Server)) (*mcptasks.Tasks, *mcp.Server, error) {
	tasks, server, err := assemble(store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		for _, m := range before {
			server.AddReceivingMiddleware(m)
		}
		tools(tasks, server)
	})
	if err != nil {
		return nil, nil, err
	}
	for _, m := range after {
		server.AddReceivingMiddleware(m)
	}
	return tasks, server, nil
}

type userKey struct{}

// sevenMiddlewares are the middleware of a server in production, from the inside out. The
// diary gets their steps around tools/call.
func sevenMiddlewares(d *diary, refuse func(user string) error, inFlight *atomic.Int32) []mcp.Middleware {
	user := func(req mcp.Request) string {
		if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil {
			return extra.TokenInfo.UserID
		}
		return ""
	}
	calls := func(f func(next mcp.MethodHandler, ctx context.Context, req mcp.Request) (mcp.Result, error)) mcp.Middleware {
		return func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method != "tools/call" {
					return next(ctx, method, req)
				}
				return f(next, ctx, req)
			}
		}
	}
	return []mcp.Middleware{
		d.middleware("session"),
		calls(func(next mcp.MethodHandler, ctx context.Context, req mcp.Request) (mcp.Result, error) {
			return next(context.WithValue(ctx, userKey{}, user(req)), "tools/call", req)
		}),
		calls(func(next mcp.MethodHandler, ctx context.Context, req mcp.Request) (mcp.Result, error) {
			if err := refuse(user(req)); err != nil {
				return nil, err
			}
			return next(ctx, "tools/call", req)
		}),
		calls(func(next mcp.MethodHandler, ctx context.Context, req mcp.Request) (mcp.Result, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return next(ctx, "tools/call", req)
		}),
		calls(func(next mcp.MethodHandler, ctx context.Context, req mcp.Request) (mcp.Result, error) {
			inFlight.Add(1)
			defer inFlight.Add(-1)
			return next(ctx, "tools/call", req)
		}),
		d.middleware("tracing"),
		d.middleware("audit"),
	}
}

// Seven middlewares are around the request and have unwound when the client has its task,
// however many of them are added before Install. The handler has their values, and is
// free of their deadlines and slots.
func TestSevenMiddlewaresAreAroundTheRequest(t *testing.T) {
	for way, assemble := range ways {
		for name, tool := range map[string]*mcptasks.ToolOptions{
			"at once": nil, "with Grace": {Grace: 20 * time.Millisecond}, "Manual": {Mode: mcptasks.Manual},
		} {
			for before := range 8 {
				t.Run(fmt.Sprintf("%s %s %d before Install", way, name, before), func(t *testing.T) {
					var d diary
					var inFlight atomic.Int32
					begun, release := make(chan struct{}), make(chan struct{})
					handler := func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
						if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil && tool != nil && tool.Mode == mcptasks.Manual {
							return nil, err
						}
						close(begun)
						<-release
						if _, limited := ctx.Deadline(); limited || ctx.Err() != nil || ctx.Value(userKey{}) != "alice" {
							return nil, fmt.Errorf("deadline %t, err %v, user %v", limited, ctx.Err(), ctx.Value(userKey{}))
						}
						d.add("the handler ends")
						return text("the result"), nil
					}
					seven := sevenMiddlewares(&d, func(string) error { return nil }, &inFlight)
					store := &noted{StorageBackend: memory(), diary: &d}
					tasks, server, err := assemble(store, fast(), tool, handler, seven[:before], seven[before:])
					if err != nil {
						t.Fatal(err)
					}
					c := serve(t, tasks, server).as("alice")
					id := c.create("work", nil)
					got := d.taken()
					middle := "The call goes on as a task."
					around := func(i int) string {
						if i < before && way != "Options.Tool" {
							return middle
						}
						return "taskResult"
					}
					want := []string{
						"audit > tools/call", "tracing > tools/call", "session > tools/call", "the task is stored",
						"session < " + around(0), "tracing < " + around(5), "audit < " + around(6),
					}
					if !slices.Equal(got, want) {
						t.Errorf("around the request: %q, not %q", got, want)
					}
					<-begun
					if n := inFlight.Load(); n != 0 {
						t.Errorf("%d requests in flight while the handler runs", n)
					}
					close(release)
					if got := textOf(c.until(id, "completed")); got != "the result" {
						t.Errorf("the task ended with %q", got)
					}
				})
			}
		}
	}
}

// Each of the seven can refuse a call before a task is stored, on either side of Install.
func TestAnyOfSevenMiddlewaresRefusesBeforeThereIsATask(t *testing.T) {
	for way, assemble := range ways {
		for before := range 8 {
			t.Run(fmt.Sprintf("%s %d before Install", way, before), func(t *testing.T) {
				var d diary
				var inFlight atomic.Int32
				refuse := func(user string) error {
					if user == "mallory" {
						return &jsonrpc.Error{Code: -32001, Message: "you are not welcome"}
					}
					return nil
				}
				seven := sevenMiddlewares(&d, refuse, &inFlight)
				store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
				tasks, server, err := assemble(store, fast(), nil, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
					t.Error("the handler runs")
					return text("done"), nil
				}, seven[:before], seven[before:])
				if err != nil {
					t.Fatal(err)
				}
				for _, legacy := range []bool{false, true} {
					c := serve(t, tasks, server).as("mallory")
					c.legacy = legacy
					if got := c.call("work", nil); got.Error == nil || got.Error.Code != -32001 {
						t.Errorf("got %v", got)
					}
				}
				if calls := store.taken(); calls["PutIfVersion"]+calls["PutBatch"] != 0 {
					t.Errorf("the store was asked %v", calls)
				}
			})
		}
	}
}

// Middleware that refuses a call on its way back has the last word: the client gets the
// refusal, the handler is stopped, and no task is left.
func TestMiddlewareThatRefusesAfterwardsLeavesNoTask(t *testing.T) {
	for way, answer := range map[string]func() (mcp.Result, error){
		"an error":  func() (mcp.Result, error) { return nil, &jsonrpc.Error{Code: -32001, Message: "no"} },
		"a result":  func() (mcp.Result, error) { res := text("no"); res.IsError = true; return res, nil },
		"no result": func() (mcp.Result, error) { return nil, errors.New("no") },
	} {
		t.Run(way, func(t *testing.T) {
			noLeaks(t)
			store, ended := memory(), make(chan error, 1)
			refuse := func(next mcp.MethodHandler) mcp.MethodHandler {
				return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
					res, err := next(ctx, method, req)
					if method != "tools/call" {
						return res, err
					}
					return answer()
				}
			}
			tasks, server, err := ways["AddRawTool"](store, fast(), nil, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, ctx.Err()
			}, []mcp.Middleware{refuse}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := serve(t, tasks, server).as("alice").call("work", nil)
			if (got.Error == nil) != (way == "a result") || got.Result["taskId"] != nil {
				t.Errorf("the client got %v", got)
			}
			if cause := <-ended; !errors.Is(cause, mcptasks.ErrLost) {
				t.Errorf("the handler's ctx ended with %v", cause)
			}
			if err := tasks.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if left, err := tasks.Account("alice").Count(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// A request that has its answer makes no task, though it comes to the tool in the end.
func TestACallThatComesToItsToolTooLateIsRefused(t *testing.T) {
	came := make(chan error, 1)
	impatient := func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method != "tools/call" {
				return next(ctx, method, req)
			}
			context.AfterFunc(ctx, func() {
				_, err := next(context.WithoutCancel(ctx), method, req)
				came <- err
			})
			return text("never mind"), nil
		}
	}
	store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
	tasks, server, err := ways["AddRawTool"](store, fast(), nil, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		t.Error("the handler runs")
		return text("done"), nil
	}, []mcp.Middleware{impatient}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := textOf(serve(t, tasks, server).as("alice").call("work", nil)); got != "never mind" {
		t.Errorf("the client got %q", got)
	}
	var wire *jsonrpc.Error
	if err := <-came; !errors.As(err, &wire) {
		t.Errorf("the late call got %v", err)
	}
	if calls := store.taken(); calls["PutIfVersion"]+calls["PutBatch"] != 0 {
		t.Errorf("the store was asked %v", calls)
	}
}

// Middleware that gives up on a call ends its handler, which can make no task any more.
func TestMiddlewareThatGivesUpEndsTheHandler(t *testing.T) {
	noLeaks(t)
	begun, promoted, over := make(chan struct{}), make(chan error, 1), make(chan struct{})
	givesUp := func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method != "tools/call" {
				return next(ctx, method, req)
			}
			go func() {
				defer close(over)
				_, _ = next(context.WithoutCancel(ctx), method, req)
			}()
			<-begun
			return nil, &jsonrpc.Error{Code: -32001, Message: "too slow"}
		}
	}
	store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
	tasks, server, err := ways["AddRawTool"](store, fast(), &mcptasks.ToolOptions{Mode: mcptasks.Manual}, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		close(begun)
		<-ctx.Done()
		promoted <- errors.Join(context.Cause(ctx), mcptasks.FromContext(ctx).Promote(context.WithoutCancel(ctx)))
		return nil, ctx.Err()
	}, []mcp.Middleware{givesUp}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := serve(t, tasks, server).as("alice").call("work", nil); got.Error == nil || got.Error.Code != -32001 {
		t.Errorf("the client got %v", got)
	}
	if err := <-promoted; err == nil || strings.Count(err.Error(), mcptasks.ErrAnswered.Error()) != 2 {
		t.Errorf("the handler got %v", err)
	}
	<-over
	if calls := store.taken(); calls["PutIfVersion"]+calls["PutBatch"] != 0 {
		t.Errorf("the store was asked %v", calls)
	}
}

// Middleware that makes the same call again makes no second task of it.
func TestMiddlewareThatCallsTwiceMakesOneTask(t *testing.T) {
	var second error
	twice := func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if method == "tools/call" {
				_, second = next(ctx, method, req)
			}
			return res, err
		}
	}
	tasks, server, err := ways["AddRawTool"](memory(), fast(), nil, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return text("done"), nil
	}, []mcp.Middleware{twice}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, tasks, server).as("alice")
	c.until(c.create("work", nil), "completed")
	if left, err := tasks.Account("alice").Count(t.Context()); err != nil || len(left) != 1 || left["completed"] != 1 || second == nil {
		t.Errorf("%v tasks, %v; the second call got %v", left, err, second)
	}
}
