package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
	domain "github.com/taskstore/taskstore/tasks"
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
	working := c.untilItSays(id, "halfway")
	validate(t, "GetTaskResult", working.Raw)
	close(release)
	completed := c.until(id, "completed")
	validate(t, "GetTaskResult", completed.Raw)
	if textOf(completed) != "done" || completed.Result["statusMessage"] != nil || completed.Result["resultType"] != "complete" {
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
		t.Errorf("an ack is only complete: %v", cancel)
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

// untilItSays polls until the task's status message is that.
func (c *caller) untilItSays(id, message string) reply {
	c.t.Helper()
	var r reply
	for range 1000 {
		if r = c.get(id); r.Result["statusMessage"] == message {
			return r
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("the task did not say %q: %v", message, r)
	return reply{}
}

// An end clears the task's status message. A failed task then says why it failed; a
// completed or cancelled one has no message, whether a handler or another program ended it.
func TestEndClearsTheStatusMessage(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		release := make(chan struct{})
		r := start(t, open(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			statusTools(release)(tasks, server)
			for name, end := range map[string]func(context.Context) (*mcp.CallToolResult, error){
				"fails": func(context.Context) (*mcp.CallToolResult, error) {
					return nil, &jsonrpc.Error{Code: 4711, Message: "no luck"}
				},
				"errs": func(context.Context) (*mcp.CallToolResult, error) { return nil, errors.New("a tool error") },
				"asks": func(context.Context) (*mcp.CallToolResult, error) {
					return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": elicit("?")}}, nil
				},
			} {
				add(tasks, server, name, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					if err := mcptasks.FromContext(ctx).SetStatusMessage(ctx, "halfway"); err != nil {
						return nil, nil, err
					}
					res, err := end(ctx)
					return res, nil, err
				}, nil)
			}
		})
		c := r.as("alice")
		said := func(id, status string, want any) {
			t.Helper()
			if got := c.until(id, status); got.Result["statusMessage"] != want {
				t.Errorf("%s says %v, not %v", status, got.Result["statusMessage"], want)
			}
		}
		halfway := func(tool string) string {
			id := c.create(tool, nil)
			c.untilItSays(id, "halfway")
			return id
		}
		running := halfway("work")
		c.cancel(running)
		said(running, "cancelled", nil)
		parked := halfway("asks")
		said(parked, "input_required", "halfway")
		c.cancel(parked)
		said(parked, "cancelled", nil)
		said(c.create("fails", nil), "failed", "no luck")
		said(c.create("errs", nil), "completed", nil)
		running = halfway("work")
		close(release)
		said(running, "completed", nil)

		// Ends that no handler brings: its replica is gone, or another program's word.
		store := r.tasks.Store()
		lost, _, err := store.Create(t.Context(), "n:alice", domain.CreateParams{Holder: "dead", StatusMessage: "halfway"})
		if err != nil {
			t.Fatal(err)
		}
		said(lost.ID, "failed", "the server that ran this task is gone")
		for _, end := range []struct {
			message string
			failure *domain.Error
			want    any
		}{
			{"halfway", nil, nil},
			{"two of three files were skipped", nil, "two of three files were skipped"},
			{"halfway", &domain.Error{Code: 4711, Message: "no luck"}, "no luck"},
			{"no luck with the third file", &domain.Error{Code: 4711, Message: "no luck"}, "no luck with the third file"},
		} {
			task, _, err := store.Create(t.Context(), "n:alice", domain.CreateParams{StatusMessage: "halfway"})
			if err != nil {
				t.Fatal(err)
			}
			task, err = store.Update(t.Context(), "n:alice", task.ID, func(t *domain.Task) error {
				t.StatusMessage = end.message
				if t.Status, t.Error = domain.Failed, end.failure; end.failure == nil {
					t.Status, t.Result = domain.Completed, []byte(`{"content":[]}`)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			said(task.ID, string(task.Status), end.want)
		}
	})
}

// A client that polls a task until its time is over learns that it may have expired.
func TestExpiredTaskIsSaidToBeUnknownOrExpired(t *testing.T) {
	t.Parallel()
	opts := fast()
	opts.Tasks.DefaultTTL, opts.Tasks.Retention, opts.Tasks.Lease = 500*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	c := start(t, memory(), opts, statusTools(nil)).as("alice")
	ended := c.create("ask", nil)
	c.until(ended, "input_required")
	c.update(ended, map[string]any{"confirm": accept(nil)})
	waiting := c.create("ask", nil)
	for name, id := range map[string]string{"one that waits": waiting, "one that has ended": ended} {
		got := c.get(id)
		for deadline := time.Now().Add(20 * time.Second); got.Error == nil && time.Now().Before(deadline); got = c.get(id) {
		}
		if got.Error == nil || got.Error.Code != -32602 || got.Error.Message != notFoundMessage || got.String() != c.get(unknownID).String() {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every push of a task that fails, and every message about a task without an end, is
// valid by the schema.
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
