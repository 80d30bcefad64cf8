package mcptasks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// crowd has n calls of task_status wait, and returns when they do.
func (m *modelClient) crowd(r *replica, n int, id string) (answered chan *mcp.CallToolResult) {
	m.t.Helper()
	before := r.tasks.Waiting()
	answered = make(chan *mcp.CallToolResult, n)
	for range n {
		go func() {
			res, err := m.session.CallTool(context.Background(), &mcp.CallToolParams{Name: "task_status", Arguments: map[string]any{"id": id}})
			if err != nil {
				m.t.Error(err)
			}
			answered <- res
		}()
	}
	eventually(m.t, fmt.Sprintf("%d calls that wait", n), func() bool { return r.tasks.Waiting() == before+n })
	return answered
}

// untilReleased is a tool that makes tasks of its calls at once. Its handler ends at
// release.
func untilReleased(release <-chan struct{}) func(*mcptasks.Tasks, *mcp.Server) {
	return one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil {
			return nil, nil, err
		}
		select {
		case <-release:
			return text("done"), nil, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}, &mcptasks.ToolOptions{Retry: true})
}

// As many calls wait as may. One more is answered at once and says why; answers and cancels
// are taken all the same, and other owners' calls wait.
func TestCallsThatWaitAreBounded(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	opts := patient()
	opts.Fallback.Wait, opts.MaxOwnerSubscriptions, opts.MaxSubscriptions = 10*time.Second, 2, 3
	r := start(t, memory(), opts, untilReleased(release)).withSessions()
	alice, bob := r.model("alice", nil), r.model("bob", nil)
	first := make(chan *mcp.CallToolResult, 1)
	go func() { first <- alice.call("tool", nil) }()
	eventually(t, "a call that waits", func() bool { return r.tasks.Waiting() == 1 })
	page, _, err := r.tasks.Account("alice").List(t.Context(), "", 1)
	if err != nil || len(page) != 1 {
		t.Fatal(page, err)
	}
	id := page[0].ID
	second := alice.crowd(r, 1, id)
	crowded := func(res *mcp.CallToolResult) string {
		t.Helper()
		if res.IsError || fields(res)["status"] != "working" || !strings.Contains(saidBy(res), "\nnext: Too many calls wait for tasks already") {
			t.Errorf("one more: %s", saidBy(res))
		}
		return handle(t, res)
	}
	other := r.model("alice", nil) // another session of the owner
	if got := crowded(other.call("task_status", map[string]any{"id": id})); got != id {
		t.Error("another task")
	}
	more := crowded(other.call("tool", nil))
	if res := other.call("task_cancel", map[string]any{"id": more}); fields(res)["status"] == nil || res.IsError {
		t.Errorf("the cancel: %s", saidBy(res))
	}
	eventually(t, "the end of the cancelled task", func() bool {
		return fields(other.call("task_status", map[string]any{"id": more, "wait": 0}))["status"] == "cancelled"
	})
	go bob.call("tool", nil)
	eventually(t, "bob's call that waits", func() bool { return r.tasks.Waiting() == 3 })
	crowded(r.model("carol", nil).call("tool", nil)) // by the bound for all
	close(release)
	for _, answered := range []chan *mcp.CallToolResult{first, second} {
		if res := <-answered; saidBy(res) != "done" {
			t.Errorf("one that waited: %s", saidBy(res))
		}
	}
	eventually(t, "that no call waits", func() bool { return r.tasks.Waiting() == 0 })
	if res := other.call("task_status", map[string]any{"id": id}); saidBy(res) != "done" {
		t.Errorf("the result: %s", saidBy(res))
	}
}

// A server that shuts down answers waiting calls with their task as it is. Later calls do
// not wait.
func TestAShutdownEndsTheWaiting(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Wait = 10 * time.Second
	store := memory()
	r := start(t, store, opts, untilReleased(nil))
	m := r.localModel(nil)
	first := make(chan *mcp.CallToolResult, 1)
	go func() { first <- m.call("tool", nil) }()
	eventually(t, "a call that waits", func() bool { return r.tasks.Waiting() == 1 })
	begin := time.Now()
	if err := r.tasks.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	id := handle(t, <-first)
	res := m.call("task_status", map[string]any{"id": id})
	if took := time.Since(begin); fields(res)["status"] != "working" || took > 5*time.Second {
		t.Errorf("after %v: %s", took, saidBy(res))
	}
}
