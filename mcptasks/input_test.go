package mcptasks_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// threeRounds asks for the same key three times and keeps count in three ways.
func threeRounds(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	task := mcptasks.FromContext(ctx)
	state := string(task.State()) + "."
	if err := task.SaveState(ctx, []byte(state)); err != nil {
		return nil, nil, err
	}
	if len(state) <= 3 {
		return &mcp.CallToolResult{
			InputRequests: mcp.InputRequestMap{"again": elicit("again?"), "again#2": elicit("this looks renamed")},
			RequestState:  req.Params.RequestState + "x",
		}, nil, nil
	}
	var keys []string
	for key := range req.Params.InputResponses {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return text(fmt.Sprintf("%v %s %s", keys, req.Params.RequestState, state)), nil, nil
}

func TestInputKeysAreUnique(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "rounds", threeRounds, nil) }
		one, two := start(t, open(), nil, tools).as("alice"), start(t, open(), nil, tools).as("alice")
		id := one.create("rounds", nil)
		seen := map[string]bool{}
		for round := range 3 {
			asked := one.until(id, "input_required").Result["inputRequests"].(map[string]any)
			if len(asked) != 2 {
				t.Fatalf("round %d asks %v", round, asked)
			}
			var keys []string
			for key := range asked {
				if seen[key] {
					t.Errorf("round %d asks %q again", round, key)
				}
				keys = append(keys, key)
			}
			// One answer to an open question, and others, of any shape, to closed ones.
			responses := map[string]any{keys[0]: accept(nil), "invented": 42}
			for key := range seen {
				responses[key] = accept(map[string]any{"late": true})
			}
			if got := two.update(id, responses); got.Error != nil {
				t.Fatalf("a partial answer: %v", got)
			}
			left := two.until(id, "input_required").Result["inputRequests"].(map[string]any)
			if left[keys[1]] == nil || len(left) != 1 {
				t.Fatalf("after a partial answer there is left %v", left)
			}
			if got := two.update(id, map[string]any{keys[1]: 42}); got.Error == nil || got.Error.Code != -32602 {
				t.Errorf("an answer of no known shape: %v", got)
			}
			if got := two.update(id, map[string]any{keys[1]: accept(nil)}); got.Error != nil {
				t.Fatalf("the last answer: %v", got)
			}
			for _, key := range keys {
				seen[key] = true
			}
			if round < 2 {
				// The answered keys must be gone before the next round is looked at.
				for range 1000 {
					now, _ := one.get(id).Result["inputRequests"].(map[string]any)
					if len(now) == 2 && now[keys[0]] == nil && now[keys[1]] == nil {
						break
					}
				}
			}
		}
		if got := textOf(one.until(id, "completed")); got != "[again again#2] xxx ...." {
			t.Errorf("the handler got %q", got)
		}
	})
}

// A key that is asked again gets the number of its round, from 2 on.
func TestInputKeysAreNumbered(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "ask", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit("?")}}, nil, nil
		}, nil)
	})
	c := r.as("alice")
	id := c.create("ask", nil)
	for _, key := range []string{"q", "q#2", "q#3"} {
		var asked map[string]any
		for deadline := time.Now().Add(20 * time.Second); asked[key] == nil; {
			if asked, _ = c.until(id, "input_required").Result["inputRequests"].(map[string]any); time.Now().After(deadline) {
				t.Fatalf("asked %v, not %s", asked, key)
			}
		}
		if got := c.update(id, map[string]any{key: accept(nil)}); got.Error != nil {
			t.Fatal(got)
		}
	}
}

// A task that waits for input holds no goroutine and survives its replica.
func TestInputSurvivesRestart(t *testing.T) {
	store := memory()
	var id string
	t.Run("before", func(t *testing.T) {
		noLeaks(t)
		c := start(t, store, nil, asking).as("")
		id = c.create("ask", nil)
		c.until(id, "input_required")
	})
	c := start(t, store, nil, asking).as("")
	if got := c.update(id, map[string]any{"confirm": map[string]any{"action": "decline"}}); got.Error != nil {
		t.Fatal(got)
	}
	if got := textOf(c.until(id, "completed")); got != "answered: decline" {
		t.Errorf("the handler said %q", got)
	}
}
