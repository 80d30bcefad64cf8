package mcptasks_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A server starts no handler after its Run has ended, though others of its Tasks do.
func TestAServerStartsNoHandlerAfterItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, err := mcptasks.New(memory(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var servers [2]*replica
		for i, name := range []string{"wiki", "billing"} {
			server := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, nil)
			add(tasks, server, "ask", confirm, nil)
			if err := tasks.Install(server); err != nil {
				t.Fatal(err)
			}
			servers[i] = directTo(t, tasks, server)
		}
		id := servers[0].as("alice").create("ask", nil)
		servers[0].as("alice").until(id, "input_required")
		watched := servers[0].as("alice").create("ask", nil)
		var streams [2]<-chan event
		for i, server := range servers {
			streams[i] = server.as("alice").listen(t.Context(), map[string]any{"taskIds": []any{watched}})
			next(t, streams[i])
		}
		if err := servers[0].run(t.Context())(); err != nil {
			t.Error(err)
		}
		for range streams[0] { // ends
		}
		servers[1].as("alice").cancel(watched)
		for e := range streams[1] {
			if e.Params["status"] == "cancelled" {
				break
			}
			if e.Method == "" {
				t.Fatalf("the other server's subscription ends: %v", e)
			}
		}
		for what, got := range map[string]reply{
			"a call":    servers[0].as("alice").call("ask", nil),
			"an answer": servers[0].as("alice").update(id, map[string]any{"confirm": accept(nil)}),
		} {
			if got.HTTP != http.StatusServiceUnavailable || got.Error.Data["retryable"] != true {
				t.Errorf("%s: %v", what, got)
			}
		}
		other := servers[1].as("alice").create("ask", nil)
		servers[1].as("alice").until(other, "input_required")
		if err := tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A Tasks forgets a server when the program has let go of it.
func TestATasksForgetsServersThatAreGone(t *testing.T) {
	tasks, err := mcptasks.New(memory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		add(tasks, server, "ask", confirm, nil)
		if err := tasks.Install(server); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		runtime.GC()
		if tasks.Servers() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d servers are known", tasks.Servers())
}

// Once its call is a task, the server drops a handler's progress, also while the answer is
// still on its way.
func TestATaskSendsNoProgress(t *testing.T) {
	notified := make(chan struct{})
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			defer close(notified)
			return text("done"), nil, req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "p", Progress: 1, Message: "halfway"})
		}, nil)
	})
	r.mcp.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if method == "tools/call" {
				<-notified
			}
			return res, err
		}
	})
	got := r.as("alice").answer("tools/call", map[string]any{"name": "work", "arguments": map[string]any{}, "_meta": map[string]any{"progressToken": "p"}})
	if !strings.Contains(got, `"resultType":"task"`) || strings.Contains(got, "halfway") {
		t.Errorf("the client got: %s", got)
	}
}
