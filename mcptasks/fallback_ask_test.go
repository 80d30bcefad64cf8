//lint:file-ignore SA1019 handlers may still ask for roots

package mcptasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A refused call has a code and no status, so that a model does not take it for a task.
func TestRefusedCallsAreNoFailedTasks(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), fallbackTools)
	m := r.model("alice", nil)
	id := handle(t, m.call("asks_early", nil))
	for what, c := range map[string]struct {
		tool string
		args map[string]any
		code string
	}{
		"no id":                {"task_status", map[string]any{}, "invalid_arguments"},
		"a number":             {"task_cancel", map[string]any{"id": 1}, "invalid_arguments"},
		"unknown":              {"task_cancel", map[string]any{"id": "1"}, "task_not_found"},
		"no action":            {"task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": map[string]any{"ok": true}}}, "invalid_answer"},
		"no such action":       {"task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": map[string]any{"action": "yes"}}}, "invalid_answer"},
		"no fit to the schema": {"task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": accept(map[string]any{"ok": "yes"})}}, "invalid_answer"},
	} {
		res := m.call(c.tool, c.args)
		if f := fields(res); !res.IsError || f["code"] != c.code || f["status"] != nil || f["id"] != nil || !strings.Contains(saidBy(res), "\ncode: "+c.code+"\n") {
			t.Errorf("%s: %s", what, saidBy(res))
		}
	}
	if res := m.call("task_status", map[string]any{"id": id}); fields(res)["status"] != "input_required" || res.IsError {
		t.Errorf("after all of them: %s", saidBy(res))
	}
	// Answers without a waiting question do no harm, late ones too.
	other := m.call("task_answer", map[string]any{"id": id, "answers": map[string]any{"other": "?"}})
	if fields(other)["status"] != "input_required" || other.IsError {
		t.Errorf("another key: %s", saidBy(other))
	}
	for range 2 {
		if res := m.call("task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": map[string]any{"action": "cancel"}}}); saidBy(res) != "answered: cancel" {
			t.Errorf("answered: %s", saidBy(res))
		}
	}
}

// A client that can be asked is asked itself while its call waits; when that is over, its
// model is.
func TestAClientThatCanBeAskedIsAsked(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), fallbackTools).withSessions()
	asked := 0
	m := r.model("alice", &mcp.ClientOptions{ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		asked++
		return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"ok": true}}, nil
	}})
	if res := m.run("asks_early", nil); saidBy(res) != "answered: accept" || asked != 1 || len(m.turns) != 1 {
		t.Errorf("asked %d times in %q: %s", asked, m.turns, saidBy(res))
	}
	m.turns = nil
	if res := m.run("asks", nil); saidBy(res) != "answered: decline" || asked != 1 || m.turns[len(m.turns)-1] != "task_answer" {
		t.Errorf("asked %d times in %q: %s", asked, m.turns, saidBy(res))
	}
	fails := r.model("alice", &mcp.ClientOptions{ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		return nil, errors.New("no user is there")
	}})
	if _, err := fails.session.CallTool(t.Context(), &mcp.CallToolParams{Name: "asks_early"}); err == nil || !strings.Contains(err.Error(), "no user is there") {
		t.Errorf("a client that does not answer: %v", err)
	}
	// One of the newest protocol takes the question as an answer to its call.
	c := r.as("alice")
	c.legacy = true
	if got := c.call("asks_early", nil); got.Result["resultType"] != "input_required" || got.Result["inputRequests"] == nil {
		t.Errorf("2026-07-28 without the extension: %v", got)
	}
	c.capabilities = map[string]any{"roots": map[string]any{}}
	if got := c.call("asks_early", nil); !strings.Contains(string(got.Raw), `"status":"input_required"`) || got.Result["resultType"] != "complete" {
		t.Errorf("2026-07-28 that cannot be asked: %v", got)
	}
}

// A task can ask a model only for the input of a form.
func TestOnlyFormsAreAskedInATask(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), patient(), one(func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		if err := untilTask(ctx); err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"roots": &mcp.ListRootsParams{}}}, nil, nil
	}, nil)).withSessions()
	for name, m := range map[string]*modelClient{
		"declared": r.model("alice", &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{RootsV2: &mcp.RootCapabilities{}}}),
		"not":      r.model("alice", &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}),
	} {
		res := m.run("tool", nil)
		failure, _ := fields(res)["error"].(map[string]any)
		if fields(res)["status"] != "failed" || failure["code"] != -32021.0 {
			t.Errorf("%s: %s", name, saidBy(res))
		}
	}
}
