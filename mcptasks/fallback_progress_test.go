package mcptasks_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A client that asked for progress gets the work's messages while its call waits.
func TestWaitingCallsTellTheirProgress(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Wait = 300 * time.Millisecond
	steps := make(chan string)
	r := start(t, memory(), opts, one(func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		for {
			step := ""
			select {
			case step = <-steps:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
			var err error
			if step == "own" {
				err = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: 7, Message: "own"})
			} else {
				err = mcptasks.FromContext(ctx).SetStatusMessage(ctx, step)
			}
			if err != nil {
				return nil, nil, err
			}
		}
	}, nil)).withSessions()
	var mu sync.Mutex
	var heard []string
	listen := &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprintf("%v %v %s", req.Params.ProgressToken, req.Params.Progress, req.Params.Message))
	}}
	hears := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q", want), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Equal(heard, want)
		})
	}
	for name, m := range map[string]*modelClient{"http": r.model("alice", listen), "stdio": r.localModel(listen)} {
		t.Run(name, func(t *testing.T) {
			heard = nil
			call := func(token, tool string, args map[string]any) <-chan *mcp.CallToolResult {
				answered := make(chan *mcp.CallToolResult, 1)
				params := &mcp.CallToolParams{Name: tool, Arguments: args}
				params.SetProgressToken(token)
				go func() {
					res, err := m.session.CallTool(context.Background(), params)
					if err != nil {
						t.Error(err)
					}
					answered <- res
				}()
				return answered
			}
			first := call("p", "tool", nil)
			steps <- "one"
			steps <- "two"
			hears("p 1 one", "p 2 two")
			id := handle(t, <-first)
			status := call("q", "task_status", map[string]any{"id": id, "wait": 10})
			hears("p 1 one", "p 2 two", "q 1 two")
			steps <- "three"
			hears("p 1 one", "p 2 two", "q 1 two", "q 2 three")
			_ = m.call("task_cancel", map[string]any{"id": id})
			<-status
			own := call("r", "tool", nil) // a handler that reports itself ends ours
			steps <- "own"
			steps <- "four"
			hears("p 1 one", "p 2 two", "q 1 two", "q 2 three", "r 7 own")
			_ = m.call("task_cancel", map[string]any{"id": handle(t, <-own)})
			hears("p 1 one", "p 2 two", "q 1 two", "q 2 three", "r 7 own")
		})
	}
}
