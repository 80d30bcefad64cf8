package mcptasks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// The server stops retrying to store an outcome when the failure is permanent: a program
// may close its store first.
func TestAnOutcomeIsGivenUpOnAPermanentFailure(t *testing.T) {
	for name, final := range map[string]error{
		"closed": taskstore.ErrClosed, "damaged": taskstore.ErrCorrupt, "of a newer format": domain.ErrFormat,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &failing{StorageBackend: memory()}
				finish := make(chan struct{})
				r := startDirect(t, store, &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
						<-finish
						return text("done"), nil, nil
					}, nil)
				})
				r.as("alice").create("work", nil)
				store.fail(fmt.Errorf("of a test: %w", final))
				close(finish)
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.tasks.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A handler that returns only after its shutdown has waited long enough brings its
// outcome, if the store is there: the process may live on.
func TestALateOutcomeAfterAShutdownIsStored(t *testing.T) {
	for name, c := range map[string]struct {
		opts *mcptasks.ToolOptions
		ends func() (*mcp.CallToolResult, error)
		want string
	}{
		"a result":           {nil, func() (*mcp.CallToolResult, error) { return text("done"), nil }, "completed"},
		"an error":           {nil, func() (*mcp.CallToolResult, error) { return nil, context.Canceled }, "failed"},
		"an error, of Retry": {&mcptasks.ToolOptions{Retry: true}, func() (*mcp.CallToolResult, error) { return nil, context.Canceled }, "working"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startDirect(t, memory(), &mcptasks.Options{DrainTimeout: 10 * time.Second}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
						time.Sleep(15 * time.Second)
						res, err := c.ends()
						return res, nil, err
					}, c.opts)
				})
				id := r.as("alice").create("work", nil)
				begun := time.Now()
				if err := r.run(t.Context())(); err == nil || time.Since(begun) > 13*time.Second {
					t.Errorf("Run returned %v after %v", err, time.Since(begun))
				}
				time.Sleep(5 * time.Second)
				if got := r.as("alice").get(id); got.Result["status"] != c.want {
					t.Errorf("the task: %v", got)
				}
				task, err := r.tasks.Store().Get(t.Context(), "n:alice", id)
				if err != nil || task.Lease.Holder != "" {
					t.Errorf("%+v, %v", task.Lease, err)
				}
			})
		})
	}
}

// fragile is an error that a nil pointer is, too often.
type fragile struct{ text string }

func (f *fragile) Error() string { return f.text }

// An error of the server's author is code too, which a task reads for the store.
func TestAnErrorThatPanicsFailsTheTask(t *testing.T) {
	opts := fast()
	opts.Around = func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			_, _ = next(ctx, method, req)
			var failed *fragile
			return nil, failed
		}
	}
	r := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("done"), nil, nil
		}, nil)
	})
	c := r.as("alice")
	if got := c.until(c.create("work", nil), "failed"); !strings.Contains(got.String(), "internal error") {
		t.Errorf("the task: %v", got)
	}
	c.legacy = true
	if got := c.call("work", nil); got.Error == nil || got.Error.Code != -32603 {
		t.Errorf("without the extension: %v", got)
	}
	if strings.Count(r.log.String(), "panicked") != 2 {
		t.Errorf("the log: %s", r.log)
	}
}
