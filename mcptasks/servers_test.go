package mcptasks_test

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A program may make a server for each request: a Tasks keeps no part of one.
func TestAServerFreesAllItHolds(t *testing.T) {
	tasks, err := mcptasks.New(memory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	gone := make(chan struct{}, n)
	for range n {
		server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		add(tasks, server, "ask", confirm, nil)
		if err := tasks.Install(server); err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(server, func(int) { gone <- struct{}{} }, 0)
	}
	deadline := time.After(10 * time.Second)
	for i := 0; i < n; {
		runtime.GC()
		select {
		case <-gone:
			i++
		case <-deadline:
			t.Fatalf("%d of %d servers are left", n-i, n)
		default:
		}
	}
	runtime.KeepAlive(tasks)
}

// The server marshals a handler's result for the store. A panic in that fails the task, and
// the server goes on.
func TestAPanicWhileAnOutcomeIsStoredFailsTheTask(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "result", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{StructuredContent: explosive{}, Content: []mcp.Content{}}, nil, nil
		}, nil)
		add(tasks, server, "meta", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			res := text("done")
			res.IsError = true
			res.Meta = mcp.Meta{"x": explosive{}}
			return res, nil, nil
		}, nil)
		add(tasks, server, "question", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": &mcp.ElicitParams{
				Message: "?", RequestedSchema: explosive{},
			}}}, nil, nil
		}, nil)
		add(tasks, server, "nojson", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{StructuredContent: func() {}, Content: []mcp.Content{}}, nil, nil
		}, nil)
	})
	c := r.as("alice")
	for tool, why := range map[string]string{"result": "internal error", "meta": "internal error", "question": "internal error", "nojson": "no JSON form"} {
		if got := c.until(c.create(tool, nil), "failed"); !strings.Contains(got.String(), why) || strings.Contains(got.String(), "secret") {
			t.Errorf("%s: %v", tool, got)
		}
	}
	if log := r.log.String(); strings.Count(log, "panicked") != 3 || strings.Contains(log, "secret") {
		t.Errorf("the log: %s", log)
	}
}

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("the secret payload") }

var _ json.Marshaler = explosive{}
