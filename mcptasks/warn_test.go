package mcptasks_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// warnings returns how often the log of a replica says something.
func (r *replica) warnings(what string) (n int) {
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// A forgotten Install looks like a server without tasks. It is said once, and only
// when a client would have had a task.
func TestAForgottenInstallIsSaidOnce(t *testing.T) {
	for _, installed := range []bool{false, true} {
		r := &replica{t: t, http: http.DefaultClient, log: new(lockedBuffer)}
		opts := fast()
		opts.Logger = slog.New(slog.NewTextHandler(r.log, nil))
		var err error
		if r.tasks, err = mcptasks.New(memory(), opts); err != nil {
			t.Fatal(err)
		}
		r.mcp = mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		for _, name := range []string{"one", "two"} {
			add(r.tasks, r.mcp, name, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return text("done"), nil, nil
			}, nil)
		}
		if installed {
			if err := r.tasks.Install(r.mcp); err != nil {
				t.Fatal(err)
			}
		}
		r.serve(overHTTP(r.tasks, r.mcp))
		legacy, capable := r.as(""), r.as("")
		legacy.legacy = true
		if got := legacy.call("one", nil); textOf(got) != "done" {
			t.Errorf("a client without tasks: %v", got)
		}
		if n := r.warnings("Install"); n != 0 {
			t.Errorf("%d warnings of a client without tasks", n)
		}
		for _, name := range []string{"one", "two", "one"} {
			got := capable.call(name, nil)
			if installed {
				capable.until(got.Result["taskId"].(string), "completed")
			} else if textOf(got) != "done" {
				t.Errorf("a client with tasks: %v", got)
			}
		}
		want := 1
		if installed {
			want = 0
		}
		if n := r.warnings("Install"); n != want {
			t.Errorf("installed %v: %d warnings: %s", installed, n, r.log)
		}
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A handler with sessions refuses the protocol version that has tasks. The server logs so
// once, whether the client asks for the server's abilities or makes a call at once.
func TestAHandlerWithSessionsIsSaidOnce(t *testing.T) {
	for name, meet := range map[string]func(t *testing.T, r *replica){
		"the SDK's client": func(t *testing.T, r *replica) {
			asked := 0
			for range 2 {
				session := r.session("", true, &asked)
				if version := session.InitializeResult().ProtocolVersion; version >= "2026-07-28" {
					t.Fatalf("version %s", version)
				}
				if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); err != nil {
					t.Error(err)
				}
			}
		},
		"a client that does not ask first": func(t *testing.T, r *replica) {
			for range 2 {
				if got := r.as("").call("ask", nil); got.HTTP != http.StatusBadRequest || got.Error.Code != -32022 {
					t.Errorf("tools/call: %v", got)
				}
			}
		},
		"a discovery without Handler": func(t *testing.T, r *replica) {
			r.serve(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, nil))
			r.as("").do("server/discover", map[string]any{})
			r.as("").do("server/discover", map[string]any{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, memory(), nil, asking)
			r.serve(r.tasks.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, nil)))
			meet(t, r)
			if n := r.warnings("Stateless"); n != 1 {
				t.Errorf("%d warnings: %s", n, r.log)
			}
		})
	}
}

// The server logs no warning for a strange client of a sound server.
func TestStrangeVersionsAreNotTheServersFault(t *testing.T) {
	r := start(t, memory(), nil, asking)
	c := r.as("")
	for _, header := range []http.Header{
		{"Mcp-Protocol-Version": {"2027-01-01"}},
		{"Mcp-Protocol-Version": nil},
		{"Mcp-Protocol-Version": {"2025-11-25"}},
	} {
		c.header = header
		c.answer("tools/call", map[string]any{"name": "ask", "arguments": map[string]any{}})
	}
	legacy := r.as("")
	legacy.legacy = true
	legacy.do("server/discover", map[string]any{})
	if log := r.log.String(); strings.Contains(log, "WARN") {
		t.Errorf("the log: %s", log)
	}
}
