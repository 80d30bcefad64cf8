package mcptasks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// restarted returns a session of a client that has no record of the tasks of r. The user
// is as in [overHTTP]; empty: anonymous.
func restarted(t *testing.T, r *replica, user string, opts mcptasks.ClientOptions) *mcp.ClientSession {
	t.Helper()
	base := http.RoundTripper(nil)
	if user != "" {
		base = bearer(user)
	}
	return connect(t, &mcp.StreamableClientTransport{Endpoint: r.url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(base)}}, opts)
}

// Await gives the owner of a task the result that its CallTool would have given.
func TestAwait(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		release, ended := make(chan struct{}), make(chan error, 1)
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			statusTools(release)(tasks, server)
			waiting(ended)(tasks, server)
		}
		one, two := start(t, open(), nil, tools), start(t, open(), nil, tools)
		work, ask, fail := one.as("alice").create("work", nil), one.as("alice").create("ask", nil), one.as("alice").create("fail", nil)
		var seen []mcptasks.ClientTask
		session := restarted(t, two, "alice", mcptasks.ClientOptions{OnTask: func(_ context.Context, task mcptasks.ClientTask) {
			if seen = append(seen, task); task.ID == work && len(seen) == 1 {
				close(release)
			}
		}})
		await := func(id string) string {
			res, err := mcptasks.Await(t.Context(), session, id)
			if err != nil || len(res.Content) == 0 {
				t.Fatalf("got %v, %v", res, err)
			}
			return res.Content[0].(*mcp.TextContent).Text
		}
		for range 2 { // also when it has ended
			if got := await(work); got != "done" {
				t.Errorf("a task: %q", got)
			}
		}
		if len(seen) < 3 || seen[0].ID != work || seen[0].Status != "working" || seen[len(seen)-1].Status != "completed" {
			t.Errorf("seen: %v", seen)
		}
		if got := await(ask); got != "answered: accept" {
			t.Errorf("with input: %q", got)
		}
		for id, code := range map[string]int64{fail: 4711, "unknown": -32602, one.as("bob").create("work", nil): -32602} {
			_, err := mcptasks.Await(t.Context(), session, id)
			if errors.Is(err, mcptasks.ErrNotFound) != (code == -32602) {
				t.Errorf("got %v", err)
			}
			if wire := (*jsonrpc.Error)(nil); !errors.As(err, &wire) || wire.Code != code {
				t.Errorf("got %v, not code %d", err, code)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		impatient := restarted(t, two, "alice", mcptasks.ClientOptions{OnTask: func(context.Context, mcptasks.ClientTask) { cancel() }})
		id := one.as("alice").create("wait", nil)
		if _, err := mcptasks.Await(ctx, impatient, id); !errors.Is(err, context.Canceled) || left(err) != id {
			t.Errorf("given up: %v", err)
		}
		if got := one.as("alice").get(id); got.Result["status"] != "working" {
			t.Errorf("the task of an Await that was given up: %v", got)
		}
		if err := mcptasks.CancelTask(t.Context(), session, id); err != nil {
			t.Error(err)
		}
		mustBeCancelled(t, ended)
	})
}

// left returns the id of the task that goes on, as err says.
func left(err error) string {
	if e, ok := errors.AsType[*mcptasks.LeftError](err); ok {
		return e.ID
	}
	return ""
}

// A client that gave its call up while the server was away can still get the result.
func TestAwaitAfterCallGaveUp(t *testing.T) {
	r := start(t, memory(), nil, asking)
	var id string
	opts := mcptasks.ClientOptions{RetryFor: -1, OnTask: func(_ context.Context, task mcptasks.ClientTask) { id = task.ID }}
	session, f := meeting(t, r, refusing, map[string]int{"tasks/get": 1}, opts)
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); err == nil {
		t.Fatal("no failure")
	}
	if f.times("tasks/cancel") != 0 {
		t.Error("the task was cancelled")
	}
	res, err := mcptasks.Await(t.Context(), restarted(t, r, "", mcptasks.ClientOptions{}), id)
	if err != nil || res.Content[0].(*mcp.TextContent).Text != "answered: accept" {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestAwaitNeedsInstallClient(t *testing.T) {
	r := start(t, memory(), nil, asking)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil).
		Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: r.url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := mcptasks.Await(t.Context(), session, "x"); err == nil || !strings.Contains(err.Error(), "InstallClient") {
		t.Errorf("got %v", err)
	}
}
