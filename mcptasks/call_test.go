package mcptasks_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

func TestRequired(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "strict", confirm, &mcptasks.ToolOptions{Required: true})
		add(tasks, server, "lenient", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			if task != nil || task.ID() != "" || task.SetStatusMessage(ctx, "x") != nil || task.Promote(ctx) != nil ||
				task.SaveState(ctx, []byte("x")) != nil || task.State() != nil {
				t.Error("a synchronous call has a task")
			}
			return text("done"), nil, nil
		}, nil)
	})
	c := r.as("alice")
	c.legacy = true
	got := c.call("strict", nil)
	required, _ := got.Error.Data["requiredCapabilities"].(map[string]any)
	extensions, _ := required["extensions"].(map[string]any)
	if got.HTTP != http.StatusBadRequest || got.Error.Code != -32021 || extensions[extension] == nil || len(required) != 1 {
		t.Errorf("a required task without the capability: %v", got)
	}
	if got := c.call("lenient", nil); textOf(got) != "done" || got.Result["resultType"] == "task" {
		t.Errorf("a client without the extension: %v", got)
	}
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		if got := c.do(method, map[string]any{"taskId": "x", "inputResponses": map[string]any{}}); got.Error == nil || got.Error.Code != -32021 {
			t.Errorf("%s without the capability: %v", method, got)
		}
	}
	for _, method := range []string{"tasks/result", "tasks/list"} {
		if got := r.as("alice").do(method, map[string]any{"taskId": "x"}); got.Error == nil || got.Error.Code != -32601 {
			t.Errorf("%s: %v", method, got)
		}
	}
}

func TestDiscover(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "ask", confirm, nil)
	})
	got := r.as("").do("server/discover", map[string]any{})
	capabilities, _ := got.Result["capabilities"].(map[string]any)
	extensions, _ := capabilities["extensions"].(map[string]any)
	if settings, ok := extensions[extension].(map[string]any); !ok || len(settings) != 0 {
		t.Errorf("server/discover: %v", got)
	}
	if err := r.tasks.Install(r.mcp); err == nil {
		t.Error("installed twice")
	}
}

func TestPanic(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "panics", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			panic("the secret payload")
		}, nil)
		add(tasks, server, "exits", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			runtime.Goexit()
			return nil, nil, nil
		}, nil)
	})
	got := r.as("alice").until(r.as("alice").create("panics", nil), "failed")
	failure, _ := got.Result["error"].(map[string]any)
	if failure["code"] != float64(-32603) || strings.Contains(string(got.Raw), "secret") {
		t.Errorf("a panic: %v", got)
	}
	log := r.log.String()
	if !strings.Contains(log, "panicked") || !strings.Contains(log, "panics") || strings.Contains(log, "secret") {
		t.Errorf("the log of a panic: %s", log)
	}
	r.as("alice").until(r.as("alice").create("exits", nil), "failed")
	sync := r.as("alice")
	sync.legacy = true
	if got := sync.call("panics", nil); got.Error == nil || got.Error.Code != -32603 {
		t.Errorf("a panic of a synchronous call: %v", got)
	}
}

func TestGrace(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "fast", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			if err := mcptasks.FromContext(ctx).SetStatusMessage(ctx, "kept"); err != nil {
				return nil, nil, err
			}
			return text("fast"), nil, nil
		}, &mcptasks.ToolOptions{Grace: 10 * time.Second})
		add(tasks, server, "slow", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			if err := task.SetStatusMessage(ctx, "kept"); err != nil {
				return nil, nil, err
			}
			if err := task.SaveState(ctx, []byte("early")); err != nil {
				return nil, nil, err
			}
			<-release
			return text(string(task.State())), nil, nil
		}, &mcptasks.ToolOptions{Grace: 20 * time.Millisecond})
		add(tasks, server, "asks", confirm, &mcptasks.ToolOptions{Grace: 10 * time.Second})
	})
	c := r.as("alice")
	if got := c.call("fast", nil); textOf(got) != "fast" || got.Result["taskId"] != nil {
		t.Errorf("done within the grace: %v", got)
	}
	got := c.call("slow", nil)
	if got.Result["resultType"] != "task" || got.Result["statusMessage"] != "kept" {
		t.Fatalf("not done within the grace: %v", got)
	}
	close(release)
	if got := c.until(got.Result["taskId"].(string), "completed"); textOf(got) != "early" {
		t.Errorf("the state from before there was a task: %v", got)
	}
	if got := c.call("asks", nil); got.Result["resultType"] != "input_required" {
		t.Errorf("input within the grace: %v", got)
	}
}

func TestManual(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "maybe"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct {
			Long bool `json:"long"`
		}) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			if !in.Long {
				return text("short " + task.ID()), nil, nil
			}
			for range 2 { // the second has no effect
				if err := task.Promote(ctx); err != nil {
					return nil, nil, err
				}
			}
			return text(task.ID()), nil, nil
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	for _, user := range []string{"alice", ""} {
		c := r.as(user)
		if got := c.call("maybe", map[string]any{"long": false}); textOf(got) != "short " {
			t.Errorf("not promoted: %v", got)
		}
		id := c.create("maybe", map[string]any{"long": true})
		if got := c.until(id, "completed"); textOf(got) != id {
			t.Errorf("the handler knows its task by another id: %v", got)
		}
	}
}

func TestShutdown(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			if context.Cause(ctx) != mcptasks.ErrShutdown {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			return nil, nil, ctx.Err()
		}, nil)
		add(tasks, server, "finish", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			return text("saved the day"), nil, nil
		}, nil)
	})
	c := r.as("alice")
	waiting, finishing := c.create("wait", nil), c.create("finish", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.tasks.Shutdown(ctx); err == nil {
		t.Error("Shutdown reports no running handler")
	}
	if got := c.get(waiting); got.Result["status"] != "failed" {
		t.Errorf("a handler that broke off: %v", got)
	}
	if got := c.get(finishing); textOf(got) != "saved the day" {
		t.Errorf("a handler that finished: %v", got)
	}
	if got := c.call("wait", nil); got.Error == nil || got.Error.Code != -32603 {
		t.Errorf("a call after Shutdown: %v", got)
	}
}
