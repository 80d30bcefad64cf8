package mcptasks_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// A counting store counts the watches of it that have begun.
type counting struct {
	taskstore.StorageBackend
	watches atomic.Int64
}

func (c *counting) Watch(ctx context.Context, prefix taskstore.Key) iter.Seq2[taskstore.Change, error] {
	w, _ := taskstore.As[taskstore.Watcher](c.StorageBackend)
	return func(yield func(taskstore.Change, error) bool) {
		c.watches.Add(1)
		w.Watch(ctx, prefix)(yield)
	}
}

func (c *counting) Unwrap() taskstore.StorageBackend { return c.StorageBackend }

// A watch costs the store a subscription and a read, for a cancel that hardly comes while
// a short task runs.
func TestAShortTaskIsNotWatched(t *testing.T) {
	for took, watches := range map[time.Duration]int64{5 * time.Millisecond: 0, time.Second: 1} {
		synctest.Test(t, func(t *testing.T) {
			store := &counting{StorageBackend: memory()}
			r := startDirect(t, store, &mcptasks.Options{Tasks: seldom}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
				add(tasks, server, "short", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
					time.Sleep(took)
					return text("done"), nil, nil
				}, nil)
			})
			id := r.as("alice").create("short", nil)
			time.Sleep(2 * time.Second)
			if got := r.as("alice").get(id); got.Result["status"] != "completed" {
				t.Errorf("the task: %v", got)
			}
			if got := store.watches.Load(); got != watches {
				t.Errorf("a task of %v was watched %d times, not %d", took, got, watches)
			}
			if err := r.tasks.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A cancel that another replica has stored before the watch begins is seen by its first read.
func TestACancelRightAfterTheCreateIsSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		r, id, cause := told(t, store, seldom)
		other, err := domain.New(store, &seldom)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Cancel(t.Context(), "n:alice", id); err != nil {
			t.Fatal(err)
		}
		within(t, 50*time.Millisecond, cause, mcptasks.ErrCancelled)
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
