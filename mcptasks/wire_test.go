package mcptasks_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// validate holds a message to a definition in testdata/schema.json.
func validate(t *testing.T, definition string, message json.RawMessage) {
	t.Helper()
	raw, err := os.ReadFile("testdata/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var all jsonschema.Schema
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if all.Defs[definition] == nil {
		t.Fatalf("the schema has no %s", definition)
	}
	all.ID = ""
	all.Ref = "#/$defs/" + definition
	schema, err := all.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(message, &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("not a %s: %v\n%s", definition, err, message)
	}
}

var isoTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// statusTools end a task in each way.
func statusTools(release <-chan struct{}) func(*mcptasks.Tasks, *mcp.Server) {
	return func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "work", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			if err := mcptasks.FromContext(ctx).SetStatusMessage(ctx, "halfway"); err != nil {
				return nil, nil, err
			}
			select {
			case <-release:
				return text("done"), nil, nil
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}, nil)
		add(tasks, server, "ask", confirm, nil)
		add(tasks, server, "fail", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return nil, nil, &jsonrpc.Error{Code: 4711, Message: "no luck", Data: json.RawMessage(`{"a":1}`)}
		}, nil)
		add(tasks, server, "bad", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			res := text("bad")
			res.IsError = true
			return res, nil, nil
		}, nil)
	}
}

func elicit(message string) *mcp.ElicitParams {
	return &mcp.ElicitParams{Mode: "form", Message: message, RequestedSchema: &jsonschema.Schema{
		Type: "object", Properties: map[string]*jsonschema.Schema{"ok": {Type: "boolean"}},
	}}
}

func confirm(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
	answer, ok := req.Params.InputResponses["confirm"].(*mcp.ElicitResult)
	if !ok {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit("sure?")}}, nil, nil
	}
	return text("answered: " + answer.Action), nil, nil
}

func TestWireMessages(t *testing.T) {
	noLeaks(t)
	release := make(chan struct{})
	c := start(t, memory(), nil, statusTools(release)).as("alice")

	create := c.call("work", nil)
	validate(t, "CreateTaskResult", create.Raw)
	if create.Result["resultType"] != "task" || create.Result["status"] != "working" {
		t.Errorf("create: %v", create)
	}
	for _, field := range []string{"createdAt", "lastUpdatedAt"} {
		if s, _ := create.Result[field].(string); !isoTime.MatchString(s) {
			t.Errorf("%s is %q", field, s)
		}
	}
	if ttl, _ := create.Result["ttlMs"].(float64); ttl != 3600000 {
		t.Errorf("ttlMs is %v", create.Result["ttlMs"])
	}
	if p, _ := create.Result["pollIntervalMs"].(float64); p != 20 {
		t.Errorf("pollIntervalMs is %v", create.Result["pollIntervalMs"])
	}
	id := create.Result["taskId"].(string)
	working := c.until(id, "working")
	validate(t, "GetTaskResult", working.Raw)
	close(release)
	completed := c.until(id, "completed")
	validate(t, "GetTaskResult", completed.Raw)
	if textOf(completed) != "done" || completed.Result["statusMessage"] != "halfway" || completed.Result["resultType"] != "complete" {
		t.Errorf("completed: %v", completed)
	}

	id = c.create("ask", nil)
	asking := c.until(id, "input_required")
	validate(t, "GetTaskResult", asking.Raw)
	confirm, _ := asking.Result["inputRequests"].(map[string]any)["confirm"].(map[string]any)
	if confirm["method"] != "elicitation/create" {
		t.Errorf("inputRequests: %v", asking)
	}
	update := c.update(id, map[string]any{"confirm": accept(map[string]any{"ok": true})})
	validate(t, "UpdateTaskResult", update.Raw)
	c.until(id, "completed")

	failed := c.until(c.create("fail", nil), "failed")
	validate(t, "GetTaskResult", failed.Raw)
	failure, _ := failed.Result["error"].(map[string]any)
	if failure["code"] != float64(4711) || failure["message"] != "no luck" || failed.Result["result"] != nil ||
		failed.Result["statusMessage"] != "no luck" {
		t.Errorf("failed: %v", failed)
	}

	bad := c.until(c.create("bad", nil), "completed")
	validate(t, "GetTaskResult", bad.Raw)
	if inner, _ := bad.Result["result"].(map[string]any); inner["isError"] != true {
		t.Errorf("a tool error: %v", bad)
	}

	id = c.create("ask", nil)
	c.until(id, "input_required")
	cancel := c.cancel(id)
	validate(t, "CancelTaskResult", cancel.Raw)
	delete(cancel.Result, "_meta")
	if len(cancel.Result) != 1 || cancel.Result["resultType"] != "complete" {
		t.Errorf("an ack is nothing but complete: %v", cancel)
	}
	cancelled := c.until(id, "cancelled")
	validate(t, "GetTaskResult", cancelled.Raw)
	if again := c.cancel(id); again.Error != nil {
		t.Errorf("cancelling twice: %v", again)
	}
	if c.cancel(failed.Result["taskId"].(string)); c.get(failed.Result["taskId"].(string)).Result["status"] != "failed" {
		t.Error("a cancel changed a task that had ended")
	}
}

// Every push of a task that fails, and every message about a task without end, is
// what the schema says.
func TestWireMessagesOfOtherTasks(t *testing.T) {
	noLeaks(t)
	opts := fast()
	opts.Tasks.DefaultTTL, opts.Tasks.MaxTTL = -1, -1
	ask := make(chan struct{})
	c := start(t, memory(), opts, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "fail", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			if len(req.Params.InputResponses) > 0 {
				return nil, nil, &jsonrpc.Error{Code: 4711, Message: "no luck", Data: json.RawMessage(`{"a":1}`)}
			}
			select {
			case <-ask:
			case <-ctx.Done():
			}
			return confirm(ctx, req, in)
		}, nil)
	}).as("alice")
	endless := func(what string, fields map[string]any) {
		t.Helper()
		if ttl, ok := fields["ttlMs"]; !ok || ttl != nil {
			t.Errorf("%s: ttlMs is %v of %v", what, ttl, fields)
		}
	}
	create := c.call("fail", nil)
	validate(t, "CreateTaskResult", create.Raw)
	endless("create", create.Result)
	id := create.Result["taskId"].(string)
	events := c.listen(t.Context(), map[string]any{"taskIds": []string{id}})
	next(t, events) // the acknowledgement
	for _, status := range []string{"working", "input_required"} {
		e := next(t, events)
		validate(t, "TaskStatusNotification", e.Raw)
		endless(status+", pushed", e.Params)
		if e.Params["status"] != status {
			t.Fatalf("not %s: %s", status, e.Raw)
		}
		got := c.get(id)
		validate(t, "GetTaskResult", got.Raw)
		endless(status+", polled", got.Result)
		if status == "working" {
			close(ask)
		}
	}
	c.update(id, map[string]any{"confirm": accept(nil)})
	e := next(t, events)
	for ; e.Params["status"] == "working"; e = next(t, events) {
		validate(t, "TaskStatusNotification", e.Raw)
	}
	validate(t, "TaskStatusNotification", e.Raw)
	failure, _ := e.Params["error"].(map[string]any)
	if e.Params["status"] != "failed" || failure["code"] != float64(4711) || failure["message"] != "no luck" {
		t.Errorf("a push of failed: %s", e.Raw)
	}
}

func TestSchemaNotices(t *testing.T) {
	raw, _ := json.Marshal(map[string]any{"resultType": "complete", "taskId": "x", "status": "completed",
		"createdAt": "a", "lastUpdatedAt": "b", "ttlMs": nil})
	var inner testing.T
	done := make(chan struct{})
	go func() { defer close(done); validate(&inner, "GetTaskResult", raw) }()
	<-done
	if !inner.Failed() {
		t.Error("a completed task without a result passed for valid")
	}
}
