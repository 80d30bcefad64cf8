package mcptasks_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenConversation = "testdata/conversation.txt"

type addition struct {
	Sum int `json:"sum"`
}

// conversationTools end in each way; one has an outputSchema.
func conversationTools(release <-chan struct{}, opts func(mcptasks.ToolOptions) *mcptasks.ToolOptions) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "add"}, func(ctx context.Context, _ *mcp.CallToolRequest, in struct{ A, B int }) (*mcp.CallToolResult, addition, error) {
			select {
			case <-release:
				return nil, addition{in.A + in.B}, nil
			case <-ctx.Done():
				return nil, addition{}, context.Cause(ctx)
			}
		}, opts(mcptasks.ToolOptions{}))
		mcp.AddTool(server, &mcp.Tool{Name: "plain"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("plain"), nil, nil
		})
		add(tasks, server, "ask", confirm, opts(mcptasks.ToolOptions{}))
		add(tasks, server, "fast", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("fast"), nil, nil
		}, opts(mcptasks.ToolOptions{Grace: 10 * time.Second}))
		add(tasks, server, "asks_early", confirm, opts(mcptasks.ToolOptions{Mode: mcptasks.Manual}))
		add(tasks, server, "fail", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return nil, nil, &jsonrpc.Error{Code: 4711, Message: "no luck"}
		}, opts(mcptasks.ToolOptions{Required: true}))
	}
}

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-[0-9a-f]{2}\b)?`)
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	anyTTL  = regexp.MustCompile(`"ttlMs":36\d{5}\b`)
)

// conversation is all that a client with the extension gets in one life of everything,
// byte for byte but for ids, times and lengths.
func conversation(t *testing.T, opts *mcptasks.Options, tool func(mcptasks.ToolOptions) *mcptasks.ToolOptions) string {
	t.Helper()
	release := make(chan struct{})
	r := start(t, memory(), opts, conversationTools(release, tool))
	var all bytes.Buffer
	for _, user := range []string{"alice", ""} {
		c := r.as(user)
		say := func(method string, params map[string]any) {
			t.Helper()
			fmt.Fprintf(&all, "%q: %s %v\n", user, method, params)
			fmt.Fprintln(&all, c.answer(method, params))
		}
		call := func(tool string, args map[string]any) {
			t.Helper()
			say("tools/call", map[string]any{"name": tool, "arguments": args})
		}
		say("server/discover", map[string]any{})
		say("tools/list", map[string]any{})
		for _, tool := range []string{"plain", "fast", "fail", "ask", "asks_early", "absent", "task_status", "task_answer", "task_cancel"} {
			call(tool, map[string]any{})
		}
		call("add", map[string]any{"A": "not a number"})
		about := func(method, id string, more map[string]any) {
			t.Helper()
			params := map[string]any{"taskId": id}
			for k, v := range more {
				params[k] = v
			}
			say(method, params)
		}
		if user == "alice" {
			id := c.create("add", map[string]any{"A": 1, "B": 2})
			about("tasks/get", id, nil)
			close(release)
			c.until(id, "completed")
			about("tasks/get", id, nil)
			about("tasks/cancel", id, nil)
			say("subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}})
		}
		id := c.create("ask", nil)
		c.until(id, "input_required")
		about("tasks/get", id, nil)
		about("tasks/update", id, map[string]any{"inputResponses": map[string]any{"confirm": accept(map[string]any{"ok": true})}})
		c.until(id, "completed")
		about("tasks/get", id, nil)
		id = c.create("ask", nil)
		c.until(id, "input_required")
		about("tasks/cancel", id, nil)
		about("tasks/get", id, nil)
		id = c.create("fail", nil)
		c.until(id, "failed")
		about("tasks/get", id, nil)
		about("tasks/get", "no such id", nil)
	}
	said := anyID.ReplaceAllString(all.String(), "ID")
	said = anyTime.ReplaceAllString(said, "TIME")
	said = anyTTL.ReplaceAllString(said, `"ttlMs":TTL`)
	said = regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(said, "Content-Length: N")
	return strings.ReplaceAll(said, "\r\n", "\n")
}

// Clients with the extension get the bytes that they got when there was no fallback.
func TestCapableClientsSeeNoFallback(t *testing.T) {
	noLeaks(t)
	as := func(o mcptasks.ToolOptions) *mcptasks.ToolOptions { return &o }
	got := conversation(t, nil, as)
	if *update {
		if err := os.WriteFile(goldenConversation, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenConversation)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, "without a fallback", string(want), got)

	on := func(o mcptasks.ToolOptions) *mcptasks.ToolOptions {
		o.Fallback = mcptasks.FallbackOn
		return &o
	}
	sameLines(t, "with a fallback", string(want), conversation(t, nil, on))
	all := fast()
	all.Fallback = mcptasks.FallbackOptions{All: true, Anonymous: true, Wait: time.Millisecond}
	sameLines(t, "with a fallback for all", string(want), conversation(t, all, as))
}

func sameLines(t *testing.T, what, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Errorf("%s, line %d is\n%s\nin the place of\n%s", what, i+1, b, a)
			return
		}
	}
}
