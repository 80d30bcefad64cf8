package mcptasks_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// fallbackFor is a policy that gives the tool of that name a fallback, and no other; the
// empty name is any.
func fallbackFor(name string) *mcptasks.Options {
	opts := patient()
	opts.Fallback.All = false
	opts.Tool = func(tool string) *mcptasks.ToolOptions {
		if name != "" && tool != name {
			return nil
		}
		return &mcptasks.ToolOptions{Fallback: mcptasks.FallbackOn}
	}
	return opts
}

func foreignTools(names ...string) func(*mcptasks.Tasks, *mcp.Server) {
	return func(_ *mcptasks.Tasks, server *mcp.Server) {
		for _, name := range names {
			server.AddTool(rawTool(name), raw(name+" "))
		}
	}
}

// The instructions go out before any list does, and name the three tools also if only the
// policy knows of a fallback.
func TestAPolicyByNameShowsInTheInstructions(t *testing.T) {
	noLeaks(t)
	m := start(t, memory(), fallbackFor("work"), foreignTools("work")).localModel(nil)
	if says := m.session.InitializeResult().Instructions; !strings.Contains(says, "task_status") {
		t.Errorf("the instructions: %q", says)
	}
	m = start(t, memory(), fallbackFor("absent"), foreignTools("work")).localModel(nil)
	if says := m.session.InitializeResult().Instructions; says != "" {
		t.Errorf("the instructions of a server without a fallback: %q", says)
	}
}

// A client that goes from page to page sees the three tools, independent of the page that
// has the tool with a fallback.
func TestAPageOfAListIsNotAllOfIt(t *testing.T) {
	noLeaks(t)
	tasks, err := mcptasks.New(memory(), fallbackFor("work"))
	if err != nil {
		t.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{PageSize: 1})
	foreignTools("add", "work")(tasks, server)
	if err := tasks.Install(server); err != nil {
		t.Fatal(err)
	}
	var names []string
	for tool, err := range serve(t, tasks, server).localModel(nil).session.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	if !slices.Equal(names, []string{"add", "task_answer", "task_cancel", "task_status", "work"}) {
		t.Errorf("page by page: %q", names)
	}
}

// A policy that gives every name a fallback makes no tasks of calls of the three tools:
// to a client with the extension they are unknown.
func TestCallsOfTheThreeToolsAreNoTasks(t *testing.T) {
	noLeaks(t)
	opts := fallbackFor("")
	opts.Fallback.Wait = 300 * time.Millisecond
	r := start(t, memory(), opts, func(_ *mcptasks.Tasks, server *mcp.Server) {
		mcp.AddTool(server, &mcp.Tool{Name: "work"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		})
	})
	c := r.as("alice")
	for _, tool := range []string{"task_status", "task_answer", "task_cancel"} {
		if got := c.call(tool, map[string]any{"id": "x"}); got.Error == nil || got.Error.Message != `unknown tool "`+tool+`"` {
			t.Errorf("%s: %v", tool, got)
		}
	}
	m := r.model("alice", nil)
	id := handle(t, m.call("work", nil))
	for range 3 {
		if again := handle(t, m.call("task_status", map[string]any{"id": id})); again != id {
			t.Error("a call of task_status became a task")
		}
	}
	if n := r.count("alice"); n != 1 {
		t.Errorf("%d tasks", n)
	}
}

// Clients with the extension get the same bytes whether the policy gives tools a fallback or
// not.
func TestCapableClientsSeeNoFallbackOfAPolicy(t *testing.T) {
	noLeaks(t)
	said := func(fallback mcptasks.Fallback) string {
		opts := fast()
		opts.Fallback.Wait = time.Millisecond
		opts.Tool = func(string) *mcptasks.ToolOptions { return &mcptasks.ToolOptions{Fallback: fallback} }
		return conversation(t, opts, func(o mcptasks.ToolOptions) *mcptasks.ToolOptions { return &o })
	}
	sameLines(t, "with a fallback", said(mcptasks.FallbackOff), said(mcptasks.FallbackOn))
}
