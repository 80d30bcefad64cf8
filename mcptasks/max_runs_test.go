package mcptasks_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// A task that loses its runner again and again is begun MaxRuns times; then the replica that
// finds it fails it, and logs so once.
func TestALostTaskIsBegunMaxRunsTimes(t *testing.T) {
	for most, want := range map[int]uint64{0: 5, 1: 1, 2: 2, 7: 7, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			store, log := memory(), new(lockedBuffer)
			opts := &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}
			runs := 0
			r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					runs++
					return text("done"), nil, nil
				}, &mcptasks.ToolOptions{Retry: true, MaxRuns: most})
			})
			id := lose(t, store, opts, "work")
			lost := want
			if most < 0 {
				lost = 20
			}
			dead, err := domain.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range lost - 1 { // and as many runners again are lost
				time.Sleep(31 * time.Second)
				_, _ = dead.Get(t.Context(), "n:alice", id) // which suspects
				time.Sleep(11 * time.Second)
				if _, err := dead.Acquire(t.Context(), "n:alice", id, "dead"); err != nil {
					t.Fatal(err)
				}
			}
			stop := r.run(t.Context())
			time.Sleep(2 * time.Minute)
			got := r.as("alice").get(id)
			failed := strings.Contains(got.String(), "begun as often as it may") && got.Result["status"] == "failed"
			if failed != (most >= 0) || failed == (runs == 1) || strings.Count(log.String(), "a task is given up") != 1-runs {
				t.Errorf("MaxRuns %d, %d lost: begun %d times more, then %v; the log: %s", most, lost, runs, got, log)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// One run less was lost: the task is begun once more.
func TestALostTaskIsBegunBeforeMaxRunsIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, opts := memory(), &mcptasks.Options{}
		id := lose(t, store, opts, "work")
		r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Retry: true, MaxRuns: 2})
		})
		stop := r.run(t.Context())
		time.Sleep(2 * time.Minute)
		if got := r.as("alice").get(id); got.Result["status"] != "completed" {
			t.Errorf("got %v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
