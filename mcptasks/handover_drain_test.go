package mcptasks_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// drainsAtOnce has r shut down while the rest of the test goes on, and holds that it
// ends as soon as the last handler is told.
func (r *replica) drainsAtOnce(ctx context.Context, whileDraining func()) {
	r.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- r.tasks.Shutdown(ctx) }()
	synctest.Wait()
	begun := time.Now()
	whileDraining()
	if err := <-ended; err != nil || time.Since(begun) > 5*time.Second {
		r.t.Errorf("Shutdown returned %v after %v", err, time.Since(begun))
	}
}

// handedOver holds that the task waits for another replica.
func (r *replica) handedOver(id string) {
	r.t.Helper()
	task, err := r.tasks.Store().Get(r.t.Context(), "n:alice", id)
	if err != nil || task.Status != "working" || task.Lease.Holder != "" || task.Lease.IdleSince.IsZero() {
		r.t.Errorf("%v under %+v, %v", task, task.Lease, err)
	}
}

// A call that becomes a task while its server drains is handed over as those are that
// were tasks before.
func TestACallThatBecomesATaskWhileItsServerDrainsIsHandedOver(t *testing.T) {
	for name, opts := range map[string]mcptasks.ToolOptions{
		"by Promote": {Mode: mcptasks.Manual}, "after its Grace": {Grace: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts.Retry = true
				entered, draining := make(chan struct{}), make(chan struct{})
				r := startDirect(t, memory(), &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
					add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
						close(entered)
						<-draining
						if opts.Mode == mcptasks.Manual {
							if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil {
								t.Error(err)
							}
						}
						<-ctx.Done()
						if !errors.Is(context.Cause(ctx), mcptasks.ErrShutdown) {
							t.Errorf("the handler was told %v", context.Cause(ctx))
						}
						return nil, nil, ctx.Err()
					}, &opts)
				})
				id := make(chan string, 1)
				go func() { id <- r.as("alice").create("work", nil) }()
				<-entered
				r.drainsAtOnce(t.Context(), func() { close(draining) })
				r.handedOver(<-id)
			})
		})
	}
}

// A breaking store fails from the end of the next write of a task on, when it is armed.
type breaking struct {
	failing
	armed atomic.Bool
}

func (b *breaking) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	version, err := b.failing.PutIfVersion(ctx, key, v, expected)
	if err == nil && isTaskKey(key) && b.armed.CompareAndSwap(true, false) {
		b.fail(errAway)
	}
	return version, err
}

// A task that is acquired during the drain, after its last answer, is handed over as
// well.
func TestATaskThatIsAcquiredWhileItsServerDrainsIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &breaking{failing: failing{StorageBackend: memory()}}
		var told atomic.Int32
		r := startDirect(t, store, &mcptasks.Options{}, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
				if len(req.Params.InputResponses) == 0 {
					return confirm(ctx, req, in)
				}
				<-ctx.Done()
				told.Add(1)
				return nil, nil, ctx.Err()
			}, &mcptasks.ToolOptions{Retry: true})
		})
		c := r.as("alice")
		id := c.create("ask", nil)
		c.until(id, "input_required")
		store.armed.Store(true)
		if got := c.update(id, map[string]any{"confirm": accept(nil)}); got.Error != nil {
			t.Fatal(got)
		}
		r.drainsAtOnce(t.Context(), func() { store.fail(nil) })
		if told.Load() != 1 {
			t.Errorf("%d handlers were told", told.Load())
		}
		r.handedOver(id)
	})
}

// A replica takes the last answer of a task. Another replica resumes the task meanwhile,
// and may have asked again, so the first one leaves it alone.
func TestATaskThatAnotherReplicaWentOnWithIsLeftToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory()
		away := &breaking{failing: failing{StorageBackend: shared}}
		twice := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", func(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				question := "first"
				if len(req.Params.InputResponses) != 0 {
					question = "second"
				}
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{question: elicit(question)}}, nil, nil
			}, &mcptasks.ToolOptions{Retry: true})
		}
		one := startDirect(t, away, &mcptasks.Options{}, twice)
		two := startDirect(t, shared, &mcptasks.Options{}, twice)
		id := one.as("alice").create("ask", nil)
		one.as("alice").until(id, "input_required")
		away.armed.Store(true)
		if got := one.as("alice").update(id, map[string]any{"first": accept(nil)}); got.Error != nil {
			t.Fatal(got)
		}
		stop := two.run(t.Context())
		time.Sleep(2 * time.Minute) // an answered task is another's after a lease
		before := two.as("alice").get(id)
		if asked, _ := before.Result["inputRequests"].(map[string]any); asked["second"] == nil {
			t.Fatalf("asked %v", before)
		}
		away.fail(nil)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := one.tasks.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown of the replica that was away: %v", err)
		}
		if got := two.as("alice").get(id); got.String() != before.String() {
			t.Errorf("before %v, after %v", before, got)
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
