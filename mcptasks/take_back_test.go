package mcptasks_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// A hindered store holds creates of tasks back until they are let go, and is away
// when the next task is deleted.
type hindered struct {
	failing
	waiting, release chan struct{}
	deletes          atomic.Int32
}

func (s *hindered) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if creates(writes) {
		s.waiting <- struct{}{}
		<-s.release
	}
	if removes(writes) && s.deletes.Add(1) < 4 {
		return errAway
	}
	return s.failing.PutBatch(ctx, writes)
}

// A task that is stored when the call has its answer is taken back, by retries if need be:
// no client knows its id, and no handler works on it.
func TestATaskThatComesAfterTheAnswerIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hindered{failing: failing{StorageBackend: memory()}, waiting: make(chan struct{}, 1), release: make(chan struct{})}
		promoted := make(chan error, 1)
		log := new(lockedBuffer)
		r := startDirect(t, store, &mcptasks.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				go func() { promoted <- mcptasks.FromContext(ctx).Promote(context.Background()) }()
				<-store.waiting
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		})
		if got := r.as("alice").call("work", nil); textOf(got) != "done" || got.Result["resultType"] == "task" {
			t.Fatalf("the answer: %v", got)
		}
		close(store.release)
		if err := <-promoted; !errors.Is(err, mcptasks.ErrAnswered) {
			t.Errorf("Promote: %v", err)
		}
		counts, err := r.tasks.Account("alice").Count(t.Context())
		if err != nil || len(counts) != 0 {
			t.Errorf("%v are left, %v", counts, err)
		}
		time.Sleep(time.Minute)
		if n := store.deletes.Load(); n != 4 || log.String() != "" {
			t.Errorf("%d deletes; the log: %s", n, log)
		}
	})
}

// A shutdown waits until such a task is taken back, since the process may end with it.
func TestShutdownWaitsUntilATaskIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hindered{failing: failing{StorageBackend: memory()}, waiting: make(chan struct{}, 1), release: make(chan struct{})}
		r := startDirect(t, store, &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				go func() { _ = mcptasks.FromContext(ctx).Promote(context.Background()) }()
				<-store.waiting
				return text("done"), nil, nil
			}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		})
		if got := r.as("alice").call("work", nil); textOf(got) != "done" {
			t.Fatalf("the answer: %v", got)
		}
		time.AfterFunc(time.Second, func() { close(store.release) })
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if counts, err := r.tasks.Account("alice").Count(t.Context()); err != nil || len(counts) != 0 {
			t.Errorf("%v are left, %v", counts, err)
		}
	})
}
