package mcptasks_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// A diary lists the steps of middleware and handlers in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// middleware notes each request and its result in the diary.
func (d *diary) middleware(name string) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			d.add(name + " > " + method)
			res, err := next(ctx, method, req)
			what := fmt.Sprintf("%T", res)
			if r, ok := res.(*mcp.CallToolResult); ok && r != nil && len(r.Content) == 1 {
				what = r.Content[0].(*mcp.TextContent).Text
			}
			if err != nil {
				what = "an error"
			}
			d.add(name + " < " + strings.TrimPrefix(what, "*mcptasks."))
			return res, err
		}
	}
}

// The order in which the server's middleware, a task's creation and its handler run, for
// middleware added before Install (inner) and after it (outer). All of the middleware has
// unwound when the client has its task, and the handler runs outside of it.
func TestTheOrderOfMiddlewareAroundATask(t *testing.T) {
	var d diary
	release := make(chan struct{})
	store := &noted{StorageBackend: memory(), diary: &d}
	tasks, err := mcptasks.New(store, fast())
	if err != nil {
		t.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	server.AddReceivingMiddleware(d.middleware("inner"))
	add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		d.add("the handler begins")
		<-release
		d.add("the handler ends")
		return text("the result"), nil, nil
	}, nil)
	if err := tasks.Install(server); err != nil {
		t.Fatal(err)
	}
	server.AddReceivingMiddleware(d.middleware("outer"))
	c := serve(t, tasks, server).as("alice")
	id := c.create("work", nil)
	for !slices.Contains(d.soFar(), "the handler begins") {
		time.Sleep(time.Millisecond)
	}
	got := d.taken()
	at := func(line string) int { return slices.Index(got, line) }
	for _, order := range [][]string{
		{"outer > tools/call", "inner > tools/call", "the task is stored", "the handler begins"},
		{"the task is stored", "inner < The call goes on as a task.", "outer < taskResult"},
	} {
		for i := 1; i < len(order); i++ {
			if at(order[i-1]) < 0 || at(order[i]) < at(order[i-1]) {
				t.Errorf("%q does not come before %q: %q", order[i-1], order[i], got)
			}
		}
	}
	if len(got) != 6 {
		t.Errorf("until the client has its task: %q", got)
	}
	close(release)
	c.until(id, "completed")
	if got := slices.DeleteFunc(d.taken(), func(line string) bool {
		return strings.Contains(line, "tasks/get") || strings.Contains(line, "< taskResult")
	}); !slices.Equal(got, []string{"the handler ends"}) {
		t.Errorf("after the client has its task: %q", got)
	}
	for method, params := range map[string]map[string]any{"tasks/get": {}, "tasks/update": {"inputResponses": map[string]any{}}, "tasks/cancel": {}} {
		params["taskId"] = id
		c.do(method, params)
		got := d.taken()
		if len(got) != 4 || got[0] != "outer > "+method || got[1] != "inner > "+method || !strings.HasPrefix(got[2], "inner < ") || !strings.HasPrefix(got[3], "outer < ") {
			t.Errorf("%s: %q", method, got)
		}
	}
}

func (d *diary) soFar() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// noted is a store that notes when a task is stored.
type noted struct {
	taskstore.StorageBackend
	diary *diary
}

func (s *noted) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	err := taskstore.PutBatch(ctx, s.StorageBackend, writes)
	if creates(writes) {
		s.diary.add("the task is stored")
	}
	return err
}

func (s *noted) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

// Middleware of the server that refuses a user refuses every request about tasks,
// whether it was added before Install or after, and before anything is stored.
func TestMiddlewareRefusesRequestsAboutTasks(t *testing.T) {
	refuse := func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if extra := req.GetExtra(); method != "server/discover" && extra != nil && extra.TokenInfo != nil && extra.TokenInfo.UserID == "mallory" {
				return nil, &jsonrpc.Error{Code: -32001, Message: "you are not welcome"}
			}
			return next(ctx, method, req)
		}
	}
	for _, when := range []string{"before Install", "after Install"} {
		for mode, opts := range map[string]*mcptasks.ToolOptions{"auto": nil, "grace": {Grace: time.Minute}, "manual": {Mode: mcptasks.Manual}} {
			t.Run(when+" "+mode, func(t *testing.T) {
				store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
				tasks, err := mcptasks.New(store, fast())
				if err != nil {
					t.Fatal(err)
				}
				server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
				add(tasks, server, "ask", confirm, opts)
				if when == "before Install" {
					server.AddReceivingMiddleware(refuse)
				}
				if err := tasks.Install(server); err != nil {
					t.Fatal(err)
				}
				if when != "before Install" {
					server.AddReceivingMiddleware(refuse)
				}
				c := serve(t, tasks, server).as("mallory")
				for _, q := range append(questions(unknownID), question{"tools/call", map[string]any{"name": "ask", "arguments": map[string]any{}}}) {
					if q.method == "tasks/list" || q.method == "tasks/result" {
						continue
					}
					if got := c.do(q.method, q.params); got.Error == nil || got.Error.Code != -32001 {
						t.Errorf("%s: %v", q.method, got)
					}
				}
				if calls := store.taken(); calls["PutIfVersion"]+calls["PutBatch"] != 0 {
					t.Errorf("the store was asked %v", calls)
				}
			})
		}
	}
}

// A call fails at once if its tool is absent, or was removed, or if its arguments do not
// fit. This holds for clients with the extension as for others.
func TestCallsThatCannotRunAreNoTasks(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "removed", confirm, nil)
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "typed"}, func(context.Context, *mcp.CallToolRequest, struct {
			N int `json:"n"`
		}) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
	})
	r.mcp.RemoveTools("removed")
	for _, legacy := range []bool{false, true} {
		c := r.as("alice")
		c.legacy = legacy
		for _, tool := range []string{"removed", "never"} {
			if got := c.call(tool, nil); got.Error == nil || got.Error.Code != -32602 {
				t.Errorf("%s: %v", tool, got)
			}
		}
		if got := c.call("typed", map[string]any{"n": "x"}); got.Error != nil || got.Result["isError"] != true {
			t.Errorf("wrong arguments: %v", got)
		}
	}
}
