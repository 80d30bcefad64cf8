package mcptasks_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// names returns the names of the tools in a client's list.
func (m *modelClient) names() (names []string) {
	m.t.Helper()
	list, err := m.session.ListTools(context.Background(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// Tools that other code added have the fallback that Options.Tool gives them, and raw
// ones that of their options. Without a fallback the three tools stay hidden.
func TestForeignAndRawToolsFallBack(t *testing.T) {
	noLeaks(t)
	for name, fallback := range map[string]mcptasks.Fallback{"on": mcptasks.FallbackOn, "off": mcptasks.FallbackOff} {
		t.Run(name, func(t *testing.T) {
			opts := patient()
			opts.Fallback.All = false
			opts.Tool = func(string) *mcptasks.ToolOptions { return &mcptasks.ToolOptions{Fallback: fallback} }
			r := start(t, memory(), opts, func(_ *mcptasks.Tasks, server *mcp.Server) {
				mcp.AddTool(server, &mcp.Tool{Name: "foreign"}, func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
					if req.Params.InputResponses == nil {
						if err := untilTask(ctx); err != nil {
							return nil, nil, err
						}
					}
					return confirm(ctx, req, in)
				})
			}).withSessions()
			if fallback == mcptasks.FallbackOff {
				if got := r.model("alice", nil).names(); !slices.Equal(got, []string{"foreign"}) {
					t.Errorf("the list has %q", got)
				}
				return
			}
			for what, opts := range map[string]*mcp.ClientOptions{"plain": nil, "with elicitation": {
				ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return nil, errors.New("not in a task")
				},
			}} {
				m := r.model("alice", opts)
				if got := m.names(); len(got) != 4 {
					t.Errorf("the list has %q", got)
				}
				m.user = map[string]map[string]any{"confirm": {"ok": true}}
				if res := m.run("foreign", nil); saidBy(res) != "answered: accept" || m.turns[len(m.turns)-1] != "task_answer" {
					t.Errorf("a client %s: %q, %s", what, m.turns, saidBy(res))
				}
			}
		})
	}
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcptasks.AddRawTool(tasks, server, &mcp.Tool{Name: "raw", InputSchema: map[string]any{"type": "object"}}, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return text("done"), untilTask(ctx)
		}, nil)
	})
	m := r.model("alice", nil)
	if res := m.run("raw", nil); saidBy(res) != "done" || !slices.Contains(m.turns, "task_status") {
		t.Errorf("%q: %s", m.turns, saidBy(res))
	}
}

// Middleware that was added before Install may refuse a call after its answer is there.
// It has the last word: the server cancels the task, because no client has its id.
func TestMiddlewareCanRefuseAHandle(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
		fallbackTools(tasks, server)
		server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				res, err := next(ctx, method, req)
				if method == "tools/call" && err == nil {
					err = errors.New("refused after all")
				}
				return res, err
			}
		})
	})
	m := r.model("alice", nil)
	if _, err := m.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "endless"}); err == nil || !strings.Contains(err.Error(), "refused after all") {
		t.Errorf("the call: %v", err)
	}
	eventually(t, "the end of the task", func() bool {
		counts, err := r.tasks.Account("alice").Count(t.Context())
		return err == nil && counts[domain.Cancelled] == 1
	})
}
