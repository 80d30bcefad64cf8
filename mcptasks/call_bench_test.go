package mcptasks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

type reportInput struct {
	City  string   `json:"city"`
	Days  int      `json:"days"`
	Names []string `json:"names,omitempty"`
}

func reports(context.Context, *mcp.CallToolRequest, reportInput) (*mcp.CallToolResult, addition, error) {
	return nil, addition{1}, nil
}

// BenchmarkTypedCall is a call of a typed tool that is answered at once: by the SDK alone,
// and by this package to clients with the extension, without and with a task.
func BenchmarkTypedCall(b *testing.B) {
	tool := &mcp.Tool{Name: "report"}
	for name, add := range map[string]func(*mcptasks.Tasks, *mcp.Server){
		"sdk": func(_ *mcptasks.Tasks, server *mcp.Server) { mcp.AddTool(server, tool, reports) },
		"grace": func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, tool, reports, &mcptasks.ToolOptions{Grace: time.Minute})
		},
		"task": func(tasks *mcptasks.Tasks, server *mcp.Server) {
			mcptasks.AddTool(tasks, server, tool, reports, nil)
		},
	} {
		b.Run(name, func(b *testing.B) {
			opts := fast()
			opts.Tasks.MaxTasks = -1
			opts.Tasks.MaxActive = -1
			benchmarkCall(b, startDirect(b, memory(), opts, add), map[string]any{"city": "Bern", "days": 3, "names": []string{"a", "b"}})
		})
	}
}

// BenchmarkForeignCall is a call of a tool that Options.Tool makes one with tasks, on a
// server with few tools and with many.
func BenchmarkForeignCall(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n, " tools"), func(b *testing.B) {
			opts := fast()
			opts.Tool = func(string) *mcptasks.ToolOptions { return &mcptasks.ToolOptions{Grace: time.Minute} }
			benchmarkCall(b, startDirect(b, memory(), opts, func(_ *mcptasks.Tasks, server *mcp.Server) {
				for i := range n - 1 {
					server.AddTool(rawTool(fmt.Sprint("other_", i)), raw("other "))
				}
				server.AddTool(rawTool("report"), raw("report "))
			}), map[string]any{"n": 1})
		})
	}
}

func benchmarkCall(b *testing.B, r *replica, args map[string]any) {
	b.Helper()
	template := r.as("alice").request(b.Context(), "tools/call", map[string]any{"name": "report", "arguments": args})
	body, err := io.ReadAll(template.Body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		req := template.Clone(b.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := r.http.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n == 0 || resp.StatusCode != http.StatusOK {
			b.Fatalf("HTTP %d, %d bytes: %v", resp.StatusCode, n, err)
		}
		resp.Body.Close()
	}
	b.StopTimer()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.tasks.Shutdown(ctx)
}
