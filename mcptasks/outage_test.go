package mcptasks_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
)

// healthy are the tools of a server with handlers that only wait.
func healthy(after time.Duration, ends *atomic.Int32) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			defer ends.Add(1)
			select {
			case <-time.After(after):
				return text("done"), nil, nil
			case <-ctx.Done():
				return nil, nil, context.Cause(ctx)
			}
		}, nil)
	}
}

// A store that is away for longer than a lease fails no task with a live handler,
// whether a client or the server looks first after its return.
func TestAnOutageFailsNoHealthyTask(t *testing.T) {
	for name, c := range map[string]struct {
		away  time.Duration
		polls bool // a client polls as soon as the store is back
	}{
		"nobody polls":    {38 * time.Second, false},
		"a client polls":  {61 * time.Second, true},
		"for ten leases":  {300 * time.Second, true},
		"just at the end": {30*time.Second + time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &failing{StorageBackend: memory()}
				var ends atomic.Int32
				r := startDirect(t, store, &mcptasks.Options{}, healthy(20*time.Minute, &ends))
				defer func() { _ = r.tasks.Shutdown(t.Context()) }()
				ctx, stop := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
				defer func() { stop(); <-ran }()
				alice := r.as("alice")
				var ids []string
				for range 20 {
					ids = append(ids, alice.create("work", nil))
				}
				time.Sleep(7 * time.Second)
				store.during(c.away)
				if c.polls {
					for _, id := range ids {
						if got := alice.get(id); got.Result["status"] != "working" {
							t.Errorf("the first poll: %v", got)
						}
					}
				}
				time.Sleep(2 * time.Minute)
				if n := ends.Load(); n != 0 {
					t.Errorf("%d of 20 handlers were told to end", n)
				}
				time.Sleep(20 * time.Minute)
				for _, id := range ids {
					if got := alice.get(id); got.Result["status"] != "completed" {
						t.Errorf("at the end: %v", got)
					}
				}
			})
		})
	}
}

// An outcome waits for the store for as long as the process lives.
func TestAnOutcomeOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{StorageBackend: memory()}
		var ends atomic.Int32
		r := startDirect(t, store, &mcptasks.Options{}, healthy(10*time.Second, &ends))
		alice := r.as("alice")
		var ids []string
		for range 20 {
			ids = append(ids, alice.create("work", nil))
		}
		time.Sleep(2 * time.Second)
		store.during(10 * time.Minute)
		for _, id := range ids {
			alice.get(id)
		}
		time.Sleep(5 * time.Second)
		for _, id := range ids {
			if got := alice.get(id); got.Result["status"] != "completed" || textOf(got) != "done" {
				t.Errorf("after the outage: %v", got)
			}
		}
		if err := r.tasks.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A shutdown waits for an absent store until its ctx ends, and then says how much is lost.
func TestShutdownGivesUpOutcomesThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{StorageBackend: memory()}
		var ends atomic.Int32
		opts := &mcptasks.Options{}
		r := startDirect(t, store, opts, healthy(time.Second, &ends))
		r.as("alice").create("work", nil)
		store.fail(errAway)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		if err := r.tasks.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "and 1 have not ended") {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute) // any goroutine left over ends in the bubble, or fails it
	})
}

// A process that was stopped for longer than a lease, its own store with it, goes on.
func TestAPausedProcessKeepsItsTasks(t *testing.T) {
	opts := fast()
	opts.Tasks.Lease = 300 * time.Millisecond
	stopped := &gate{StorageBackend: memory()}
	var ends atomic.Int32
	release := make(chan struct{})
	r := start(t, stopped, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			select {
			case <-release:
				return text("done"), nil, nil
			case <-ctx.Done():
				ends.Add(1)
				return nil, nil, context.Cause(ctx)
			}
		}, nil)
	})
	alice := r.as("alice")
	id := alice.create("work", nil)
	stopped.mu.Lock() // all writes wait, a client's look that would settle too
	time.Sleep(2 * opts.Tasks.Lease)
	stopped.mu.Unlock()
	for range 20 {
		if got := alice.get(id); got.Result["status"] != "working" {
			t.Fatalf("after the pause: %v", got)
		}
	}
	close(release)
	if got := textOf(alice.until(id, "completed")); got != "done" || ends.Load() != 0 {
		t.Errorf("%q, %d handlers told to end", got, ends.Load())
	}
}

// The tasks of a runner that is really gone fail within one and a half leases.
func TestALostRunnerIsNoticedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		opts := &mcptasks.Options{}
		r := startDirect(t, store, opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {})
		dead, err := domain.New(store, &opts.Tasks)
		if err != nil {
			t.Fatal(err)
		}
		task, _, err := dead.Create(t.Context(), "n:alice", domain.CreateParams{Holder: "dead"})
		if err != nil {
			t.Fatal(err)
		}
		alice := r.as("alice")
		begun := time.Now()
		for alice.get(task.ID).Result["status"] == "working" {
			time.Sleep(time.Second)
		}
		if took := time.Since(begun); took < 30*time.Second || took > 45*time.Second {
			t.Errorf("noticed after %v", took)
		}
		_ = r.tasks.Shutdown(t.Context())
	})
}
