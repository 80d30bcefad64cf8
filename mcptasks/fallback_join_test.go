package mcptasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// The same call again, while the first runs, is no second run.
func TestRepeatedCallsAreJoined(t *testing.T) {
	idempotent := &mcp.Tool{Name: "tool", Annotations: &mcp.ToolAnnotations{IdempotentHint: true}}
	for name, c := range map[string]struct {
		tool    *mcp.Tool
		repeats mcptasks.Repeats
		joined  bool
	}{
		"by the hint":      {idempotent, mcptasks.RepeatsByHint, true},
		"not by the hint":  {idempotent, mcptasks.RepeatsRun, false},
		"without the hint": {&mcp.Tool{Name: "tool"}, mcptasks.RepeatsByHint, false},
		"by the option":    {&mcp.Tool{Name: "tool"}, mcptasks.RepeatsJoin, true},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			var runs atomic.Int32
			release := make(chan struct{})
			r := start(t, memory(), patient(), func(tasks *mcptasks.Tasks, server *mcp.Server) {
				mcptasks.AddTool(tasks, server, c.tool, func(_ context.Context, req *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
					runs.Add(1)
					if req.Params.InputResponses == nil {
						<-release
						return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit("sure?")}}, nil, nil
					}
					return text("done"), nil, nil
				}, &mcptasks.ToolOptions{Repeats: c.repeats})
			}).withSessions()
			m := r.model("alice", nil)
			again := func(m *modelClient, args string) string {
				return handle(t, m.call("tool", json.RawMessage(args)))
			}
			first := again(m, `{"a":1,"b":{"c":2}}`)
			if again(r.model("alice", nil), `{"b":{"c":2},"a":1}`) == first != c.joined {
				t.Error("the same arguments in another order")
			}
			if again(m, `{"a":1.0,"b":{"c":3}}`) == first {
				t.Error("other arguments are joined")
			}
			if again(r.model("bob", nil), `{"a":1,"b":{"c":2}}`) == first {
				t.Error("another user's call is joined")
			}
			close(release)
			asks := m.call("task_status", map[string]any{"id": first, "wait": 10})
			if c.joined && again(m, `{"a":1,"b":{"c":2}}`) != first {
				t.Error("not while it asks")
			}
			if res := m.follow(asks); saidBy(res) != "done" {
				t.Errorf("the end: %s", saidBy(res))
			}
			want := int32(5) // three calls, that of bob, and the one with the answer
			if c.joined {
				want = 4
			}
			eventually(t, fmt.Sprintf("%d runs", want), func() bool { return runs.Load() == want })
			if again(m, `{"a":1,"b":{"c":2}}`) == first {
				t.Error("a call is joined to one that has ended")
			}
		})
	}
}

// Calls at the same instant are one run too, and a client that gives up its own does not
// take the other's with it.
func TestJoinedCallsDoNotEndEachOther(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Wait = 10 * time.Second
	release, began := make(chan struct{}), make(chan struct{}, 9)
	r := start(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		began <- struct{}{}
		select {
		case <-release:
			return text("done"), nil, nil
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}, &mcptasks.ToolOptions{Repeats: mcptasks.RepeatsJoin})).withSessions()
	ctx, cancel := context.WithCancel(t.Context())
	first := r.model("alice", nil)
	gaveUp := make(chan struct{})
	go func() {
		defer close(gaveUp)
		_, _ = first.session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
	}()
	<-began
	second := r.model("alice", nil)
	answered := make(chan *mcp.CallToolResult)
	go func() { answered <- second.call("tool", nil) }()
	eventually(t, "a task", func() bool { return r.count("alice") == 1 })
	cancel()
	<-gaveUp
	time.Sleep(50 * time.Millisecond) // for a cancel to come through, if there were one
	close(release)
	if res := <-answered; saidBy(res) != "done" || len(began) != 0 {
		t.Errorf("%s, and %d runs more", saidBy(res), len(began))
	}
}

// Anonymous calls are not joined, because the id alone guards an anonymous task.
func TestAnonymousCallsAreNotJoined(t *testing.T) {
	noLeaks(t)
	opts := patient()
	opts.Fallback.Anonymous = true
	r := start(t, memory(), opts, one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}, &mcptasks.ToolOptions{Repeats: mcptasks.RepeatsJoin}))
	if a, b := handle(t, r.model("", nil).call("tool", nil)), handle(t, r.model("", nil).call("tool", nil)); a == b {
		t.Error("one task for two callers")
	}
	if a, b := handle(t, r.localModel(nil).call("tool", nil)), handle(t, r.localModel(nil).call("tool", nil)); a != b {
		t.Error("two tasks for one user on stdio")
	}
}
