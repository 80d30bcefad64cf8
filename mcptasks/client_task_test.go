package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// untilStatus looks at the task until it has the status.
func untilStatus(t *testing.T, session *mcp.ClientSession, id, status string) *mcptasks.ClientTask {
	t.Helper()
	for range 1000 {
		task, err := mcptasks.GetTask(t.Context(), session, id)
		if err != nil {
			t.Fatal(err)
		}
		if string(task.Status) == status {
			return task
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the task did not become %s", status)
	return nil
}

// A client starts a task, looks at it, answers it and cancels it, by its id and
// from any session of the same user.
func TestClientWorksWithATaskByID(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		waiting(ended)(tasks, server)
		mcp.AddTool(server, &mcp.Tool{Name: "plain"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return text("plain"), nil, nil
		})
	})
	for name, overHTTP := range map[string]bool{"http": true, "connection": false} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			session := clientOf(t, r, overHTTP, func(mcptasks.ClientTask) {})
			task, res, err := mcptasks.StartTool(ctx, session, &mcp.CallToolParams{Name: "plain"})
			if task != nil || err != nil || res.Content[0].(*mcp.TextContent).Text != "plain" {
				t.Errorf("no task: %v, %v, %v", task, res, err)
			}
			task, res, err = mcptasks.StartTool(ctx, session, &mcp.CallToolParams{Name: "ask"})
			if err != nil || res != nil || task.ID == "" || task.Status != "working" || task.PollInterval != 20*time.Millisecond {
				t.Fatalf("started: %v, %v, %v", task, res, err)
			}
			second := clientOf(t, r, overHTTP, nil)
			asks := untilStatus(t, second, task.ID, "input_required")
			if len(asks.InputRequests) != 1 || !strings.Contains(string(asks.InputRequests["confirm"]), "elicitation/create") {
				t.Errorf("asks: %s", asks.InputRequests)
			}
			if err := mcptasks.AnswerTask(ctx, second, task.ID, map[string]any{"confirm": &mcp.ElicitResult{Action: "decline"}}); err != nil {
				t.Error(err)
			}
			res, err = mcptasks.Await(ctx, session, task.ID)
			if err != nil || res.Content[0].(*mcp.TextContent).Text != "answered: decline" {
				t.Errorf("answered: %v, %v", res, err)
			}

			task, _, err = mcptasks.StartTool(ctx, session, &mcp.CallToolParams{Name: "wait"})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // also when it has ended
				if err := mcptasks.CancelTask(ctx, second, task.ID); err != nil {
					t.Error(err)
				}
				untilStatus(t, second, task.ID, "cancelled")
			}
			mustBeCancelled(t, ended)
			if _, err := mcptasks.Await(ctx, session, task.ID); !errors.Is(err, mcptasks.ErrCancelled) || left(err) != "" {
				t.Errorf("a task that was cancelled: %v", err)
			}
		})
	}
}

// A task that StartTool has returned outlives its ctx.
func TestStartToolLeavesTheTask(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, memory(), nil, waiting(ended))
	session := clientOf(t, r, true, nil)
	ctx, cancel := context.WithCancel(t.Context())
	task, _, err := mcptasks.StartTool(ctx, session, &mcp.CallToolParams{Name: "wait"})
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if got := untilStatus(t, session, task.ID, "working"); got.ID != task.ID {
		t.Errorf("got %v", got)
	}
	select {
	case cause := <-ended:
		t.Errorf("it ended by %v", cause)
	default:
	}
}

// LeaveTasks has CallTool leave the task that its caller knows.
func TestClientLeavesTasksIfTold(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, memory(), nil, waiting(ended))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	session, f := meeting(t, r, refusing, map[string]int{}, mcptasks.ClientOptions{LeaveTasks: true, OnTask: func(context.Context, mcptasks.ClientTask) { cancel() }})
	_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"})
	if !errors.Is(err, context.Canceled) || left(err) == "" || strings.Contains(err.Error(), left(err)) {
		t.Fatalf("got %v", err)
	}
	if got := untilStatus(t, session, left(err), "working"); f.times("tasks/cancel") != 0 {
		t.Errorf("got %v, sent %v", got, f.sent)
	}
}

// Every function gives an unknown task the same error.
func TestClientNamesUnknownTasks(t *testing.T) {
	r := start(t, memory(), nil, asking)
	for name, overHTTP := range map[string]bool{"http": true, "connection": false} {
		t.Run(name, func(t *testing.T) {
			session := clientOf(t, r, overHTTP, nil)
			const id = "no-such-task"
			_, awaiting := mcptasks.Await(t.Context(), session, id)
			_, getting := mcptasks.GetTask(t.Context(), session, id)
			for what, err := range map[string]error{
				"Await": awaiting, "GetTask": getting, "CancelTask": mcptasks.CancelTask(t.Context(), session, id),
				"AnswerTask": mcptasks.AnswerTask(t.Context(), session, id, map[string]any{"a": 1}),
			} {
				wire, ok := errors.AsType[*jsonrpc.Error](err)
				if !errors.Is(err, mcptasks.ErrNotFound) || !ok || wire.Code != -32602 || left(err) != "" || strings.Contains(err.Error(), id) {
					t.Errorf("%s: %v", what, err)
				}
				if !strings.HasPrefix(err.Error(), "mcptasks: the task is unknown or has expired") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// Error -32602 to an answer may be about the answer, with the task still there.
func TestClientTellsARefusedAnswerFromAnUnknownTask(t *testing.T) {
	answers := map[string][]string{
		"tasks/get": {state(asking1)}, "tasks/update": {`error:{"code":-32602,"message":"not a colour"}`},
	}
	onBoth(t, answers, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
		err := mcptasks.AnswerTask(t.Context(), session, "t1", map[string]any{"a": json.RawMessage(`{"x":1}`)})
		if wire, ok := errors.AsType[*jsonrpc.Error](err); !ok || wire.Message != "not a colour" || errors.Is(err, mcptasks.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if got := marshal(t, f.last["tasks/update"]["inputResponses"]); got != `{"a":{"x":1}}` {
			t.Errorf("sent %s", got)
		}
		_, err = callTool(t, session)
		if wire, ok := errors.AsType[*jsonrpc.Error](err); !ok || wire.Message != "not a colour" || left(err) != "t1" || f.times("tasks/cancel") != 0 {
			t.Errorf("CallTool: %v, sent %v", err, f.sent)
		}
	})
}

// Arguments that cannot be right are refused before anything is sent.
func TestClientRefusesBadInput(t *testing.T) {
	f := newFake(t, nil)
	session := f.overHTTP(mcptasks.ClientOptions{})
	_, empty := mcptasks.GetTask(t.Context(), session, "")
	for want, err := range map[string]error{
		"the id of the task is empty": empty,
		"the answers are empty":       mcptasks.AnswerTask(t.Context(), session, "t1", nil),
		"an answer":                   mcptasks.AnswerTask(t.Context(), session, "t1", map[string]any{"a": func() {}}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, not %q", err, want)
		}
	}
	if f.times("tasks/get")+f.times("tasks/update") != 0 {
		t.Errorf("sent: %v", f.sent)
	}
}
