package mcptasks_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// A call that reaches its Grace while the store is away becomes a task when the store is
// back: a moment does not decide over an hour of work.
func TestACallBecomesATaskWhenTheStoreIsBack(t *testing.T) {
	for name, c := range map[string]struct{ works, want time.Duration }{
		"the handler goes on":     {time.Hour, 5 * time.Second},
		"the handler ends before": {3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &failing{StorageBackend: memory()}
				log := new(lockedBuffer)
				opts := &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}
				r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
						time.Sleep(c.works)
						return text("done"), nil, nil
					}, &mcptasks.ToolOptions{Grace: time.Second})
				})
				store.fail(errAway)
				time.AfterFunc(4*time.Second, func() { store.fail(nil) })
				begun := time.Now()
				got := r.as("alice").call("work", nil)
				if took := time.Since(begun); took > c.want || (got.Result["resultType"] == "task") != (c.works > c.want) {
					t.Errorf("after %v: %v", took, got)
				}
				if n := strings.Count(log.String(), "could not become a task"); n != 1 {
					t.Errorf("%d log lines: %s", n, log)
				}
				if err := r.tasks.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A holding store keeps creates of tasks until their ctx ends.
type holding struct {
	taskstore.StorageBackend
	waiting chan struct{}
}

func (s *holding) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if creates(writes) {
		s.waiting <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return taskstore.PutBatch(ctx, s.StorageBackend, writes)
}

func (s *holding) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

// The server logs no line for a client that goes away while its call becomes a task.
func TestAClientThatGoesDuringItsCreateIsNotLogged(t *testing.T) {
	for name, tool := range map[string]*mcptasks.ToolOptions{"at once": nil, "after a grace": {Grace: time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &holding{memory(), make(chan struct{}, 1)}
				log := new(lockedBuffer)
				r := startDirect(t, store, &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
						<-ctx.Done()
						return nil, nil, ctx.Err()
					}, tool)
				})
				r.http = &http.Client{Transport: direct{r.tasks.HTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, nil)}}
				c := r.as("")
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-store.waiting; cancel() }()
				if resp, err := c.http.Do(c.request(ctx, "tools/call", map[string]any{"name": "work", "arguments": map[string]any{}})); err == nil {
					_ = resp.Body.Close()
				}
				if err := r.tasks.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if log.String() != "" {
					t.Errorf("the log: %s", log)
				}
			})
		})
	}
}
