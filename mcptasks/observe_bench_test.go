package mcptasks_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// BenchmarkObserveRun is a tools/call over HTTP that becomes a task. Servers without and
// with an observer take turns, so that a disturbance of one disturbs all.
func BenchmarkObserveRun(b *testing.B) {
	variants := []struct {
		name    string
		observe func(context.Context, mcptasks.RunBegin) mcptasks.RunObserver
	}{
		{"nil", nil},
		{"empty", func(context.Context, mcptasks.RunBegin) mcptasks.RunObserver { return mcptasks.RunObserver{} }},
		{"nil-again", nil}, // shows the share of chance
	}
	took := make([][]time.Duration, len(variants))
	var call []func()
	for _, v := range variants {
		opts := fast()
		opts.ObserveRun = v.observe
		done := make(chan struct{}, 1)
		r := start(b, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "tool", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				done <- struct{}{}
				return text("done"), nil, nil
			}, nil)
		})
		call = append(call, func() {
			id := r.as("alice").create("tool", nil)
			<-done
			r.as("alice").until(id, "completed")
			if err := r.tasks.Store().Delete(b.Context(), "n:alice", id); err != nil {
				b.Fatal(err)
			}
		})
	}
	for n := 0; b.Loop(); n++ {
		for i := range call {
			i = (i + n) % len(call)
			begin := time.Now()
			call[i]()
			took[i] = append(took[i], time.Since(begin))
		}
	}
	for i, v := range variants {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds())/1e3, v.name+"-µs")
	}
}
