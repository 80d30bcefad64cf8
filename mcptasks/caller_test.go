package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// said returns the answer of Caller in one string.
func said(ctx context.Context) string {
	owner, err := mcptasks.Caller(ctx)
	switch {
	case errors.Is(err, mcptasks.ErrAnonymous) && owner == "":
		return "nobody"
	case err != nil:
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%q", owner)
}

// telling answers with its caller, in a second call if the arguments are to be
// confirmed.
func telling(ctx context.Context, req *mcp.CallToolRequest, in struct {
	Ask bool `json:"ask,omitempty"`
}) (*mcp.CallToolResult, any, error) {
	if in.Ask && len(req.Params.InputResponses) == 0 {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit(said(ctx))}}, nil, nil
	}
	return text(said(ctx)), nil, nil
}

func tellers(t *mcptasks.Tasks, server *mcp.Server) {
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "task"}, telling, &mcptasks.ToolOptions{Retry: true})
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "grace"}, telling, &mcptasks.ToolOptions{Grace: time.Minute})
	mcptasks.AddTool(t, server, &mcp.Tool{Name: "manual"}, telling, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	mcp.AddTool(server, &mcp.Tool{Name: "plain"}, telling)
}

// users maps each caller to the answer of Caller.
var users = map[string]string{"alice": `"alice"`, "n:alice": `"n:alice"`, "a:00": `"a:00"`, "": "nobody"}

// A handler learns the same caller however it comes to be called.
func TestCallerIsTheSameInEveryCall(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		one, two := start(t, open(), nil, tellers), start(t, open(), nil, tellers)
		for user, want := range users {
			c := one.as(user)
			if got := textOf(c.until(c.create("task", nil), "completed")); got != want {
				t.Errorf("%q as a task: %s", user, got)
			}
			id := c.create("task", map[string]any{"ask": true})
			asked, _ := c.until(id, "input_required").Result["inputRequests"].(map[string]any)["confirm"].(map[string]any)
			if params, _ := asked["params"].(map[string]any); params["message"] != want {
				t.Errorf("%q before its answer: %v", user, asked)
			}
			c = two.as(user)
			c.update(id, map[string]any{"confirm": accept(nil)})
			if got := textOf(c.until(id, "completed")); got != want {
				t.Errorf("%q after an answer, on another replica: %s", user, got)
			}
			for _, tool := range []string{"grace", "manual", "plain"} {
				if got := textOf(c.call(tool, nil)); got != want {
					t.Errorf("%q calls %s: %s", user, tool, got)
				}
			}
			c.legacy = true
			for _, tool := range []string{"task", "grace", "manual", "plain"} {
				if got := textOf(c.call(tool, nil)); got != want {
					t.Errorf("%q calls %s without the extension: %s", user, tool, got)
				}
			}
		}
	})
}

func TestCallerOfATaskThatGoesOnAfterItsReplicaWasLost(t *testing.T) {
	store, opts := memory(), short()
	r := start(t, store, opts, tellers)
	id := lose(t, store, opts, "task")
	go func() { _ = r.tasks.Run(t.Context(), r.mcp) }()
	if got := textOf(r.as("alice").until(id, "completed")); got != `"alice"` {
		t.Errorf("the caller is %s", got)
	}
}

// Middleware that was added before Install learns the caller too, for every method.
func TestCallerInMiddleware(t *testing.T) {
	type seen struct{ method, caller string }
	saw := make(chan seen, 100)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		tellers(tasks, server)
		server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method == "tools/call" || method == "tools/list" {
					saw <- seen{method, said(ctx)}
				}
				return next(ctx, method, req)
			}
		})
	})
	expect := func(user string, want seen) {
		t.Helper()
		select {
		case got := <-saw:
			if got != want {
				t.Errorf("%q: %v", user, got)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q: no %s", user, want.method)
		}
	}
	for user, want := range users {
		for _, legacy := range []bool{false, true} {
			c := r.as(user)
			c.legacy = legacy
			c.do("tools/list", map[string]any{})
			expect(user, seen{"tools/list", want})
			for _, tool := range []string{"task", "grace", "plain"} {
				c.call(tool, nil)
				expect(user, seen{"tools/call", want})
			}
		}
	}
}

// byHeader is an Options.Owner that counts its calls and can fail.
func byHeader(calls *atomic.Int32) func(context.Context, mcp.Request) (string, error) {
	return func(_ context.Context, req mcp.Request) (string, error) {
		calls.Add(1)
		switch owner := req.GetExtra().Header.Get("X-Owner"); owner {
		case "refused":
			return "", &jsonrpc.Error{Code: -32999, Message: "not today"}
		case "broken":
			return "", errors.New("secret reason")
		case "nobody":
			return "", mcptasks.ErrAnonymous
		default:
			return owner, nil
		}
	}
}

// Options.Owner is asked once for a request that needs an owner, and not for others.
func TestOwnerIsAskedOnce(t *testing.T) {
	var calls atomic.Int32
	opts := fast()
	opts.Owner = byHeader(&calls)
	curious := func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		return text(said(ctx) + said(ctx)), nil, nil
	}
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "curious", curious, &mcptasks.ToolOptions{Grace: time.Minute})
		mcp.AddTool(server, &mcp.Tool{Name: "plain"}, curious)
		mcp.AddTool(server, &mcp.Tool{Name: "indifferent"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		})
	})
	for tool, want := range map[string]int32{"curious": 1, "plain": 1, "indifferent": 0} {
		for _, legacy := range []bool{false, true} {
			for _, owner := range []string{"alice", "nobody", "broken"} {
				if owner == "broken" && tool == "curious" && !legacy {
					continue // refused
				}
				c := r.as("")
				c.legacy, c.header = legacy, http.Header{"X-Owner": {owner}}
				calls.Store(0)
				if got := c.call(tool, nil); textOf(got) == "" || calls.Load() != want {
					t.Errorf("%s calls %s, legacy %v: Owner was asked %d times, not %d; %v", owner, tool, legacy, calls.Load(), want, got)
				}
			}
		}
	}
}

// An unknown owner refuses no synchronous call by itself. The handler gets the error that
// a client would get, and can refuse the call in the same words.
func TestCallerThatIsNotKnown(t *testing.T) {
	opts := fast()
	opts.Owner = byHeader(new(atomic.Int32))
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "strict", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			if _, err := mcptasks.Caller(ctx); err != nil {
				return nil, nil, err
			}
			return text("served"), nil, nil
		}, nil)
		add(tasks, server, "lenient", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("served"), nil, nil
		}, nil)
	})
	for owner, want := range map[string]struct {
		code    int
		message string
	}{
		"refused": {-32999, "not today"},
		"broken":  {-32600, "the request's owner is not known"},
		"":        {-32600, "the request's owner is empty"},
	} {
		c := r.as("")
		c.header = http.Header{"X-Owner": {owner}}
		asTask := c.call("strict", nil)
		c.legacy = true
		for name, got := range map[string]reply{"as a task": asTask, "synchronous": c.call("strict", nil)} {
			if got.Error == nil || got.Error.Code != want.code || got.Error.Message != want.message {
				t.Errorf("%q, %s: %v", owner, name, got)
			}
		}
		if got := c.call("lenient", nil); textOf(got) != "served" {
			t.Errorf("%q, of no interest to the handler: %v", owner, got)
		}
	}
}

// A ctx of somewhere else has no caller, which is not the same as an anonymous one.
func TestNoCaller(t *testing.T) {
	if owner, err := mcptasks.Caller(t.Context()); owner != "" || err == nil || errors.Is(err, mcptasks.ErrAnonymous) {
		t.Errorf("%q, %v", owner, err)
	}
}
