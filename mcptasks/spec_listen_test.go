//lint:file-ignore SA1019 handlers may still ask, and log, in the ways that are deprecated

package mcptasks_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

const subscriptionID = "io.modelcontextprotocol/subscriptionId"

func subscription(fields map[string]any) any {
	meta, _ := fields["_meta"].(map[string]any)
	return meta[subscriptionID]
}

// The acknowledgement comes first, and it, every push and the end carry the id of
// the request.
func TestEveryMessageOfAListenNamesItsSubscription(t *testing.T) {
	namesSubscription(t, 1.0, "a", 9007199254740991.0)
}

func namesSubscription(t *testing.T, ids ...any) {
	t.Helper()
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	c := r.as("")
	for _, id := range ids {
		for _, name := range []string{"http", "connection"} {
			task := c.create("ask", nil)
			c.until(task, "input_required")
			listen := request(id, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{task}}}, declaring)
			var next func() received
			if name == "http" {
				next, _ = r.events(t.Context(), t, listen)
			} else {
				l := r.dial(t)
				l.send(listen)
				next = l.next
			}
			if m := next(); m.Method != "notifications/subscriptions/acknowledged" || subscription(m.Params) != id {
				t.Errorf("%s, id %q: the acknowledgement: %s", name, id, m)
				continue
			}
			for _, status := range []string{"input_required", "cancelled"} {
				if m := next(); m.Method != "notifications/tasks" || m.Params["status"] != status || subscription(m.Params) != id || m.ID != nil {
					t.Errorf("%s, id %q: the push: %s", name, id, m)
				}
				c.cancel(task)
			}
			if m := next(); m.ID != id || m.Result["resultType"] != "complete" || subscription(m.Result) != id {
				t.Errorf("%s, id %q: the end: %s", name, id, m)
			}
		}
	}
}

// The server drops the notifications of a handler to its client once there is a task, on the
// events of the task and on all others. A stream has only the notifications that the client
// asked for.
func TestListenSendsOnlyRequestedNotifications(t *testing.T) {
	noLeaks(t)
	step := make(chan struct{})
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "noisy", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			<-step
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "token", Progress: 1})
			_ = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "error", Data: "noise"})
			return text("done"), nil, nil
		}, nil)
	})
	l := r.dial(t)
	call := callOf("noisy")
	m := request("call", "tools/call", call, declaring)
	meta := m["params"].(map[string]any)["_meta"].(map[string]any)
	meta["progressToken"], meta["io.modelcontextprotocol/logLevel"] = "token", "debug"
	l.send(m)
	created := l.next()
	id, _ := created.Result["taskId"].(string)
	listen := request("listen", "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}, declaring)
	overHTTP, _ := r.events(t.Context(), t, listen)
	l.send(listen)
	for _, next := range []func() received{overHTTP, l.next} {
		next() // the acknowledgement
		if m := next(); m.Params["status"] != "working" {
			t.Fatalf("the snapshot: %s", m)
		}
	}
	add(r.tasks, r.mcp, "another", confirm, nil) // which is not asked for either
	close(step)
	for name, next := range map[string]func() received{"http": overHTTP, "connection": l.next} {
		if m := next(); m.Method != "notifications/tasks" || m.Params["status"] != "completed" {
			t.Errorf("%s: after the work: %s", name, m)
		}
		if m := next(); m.ID != "listen" || m.Result == nil {
			t.Errorf("%s: after the task: %s", name, m)
		}
	}
	if got := l.ask("get", "tasks/get", map[string]any{"taskId": id}, declaring); got.Result["status"] != "completed" {
		t.Errorf("in the end: %s", got)
	}
}

// Subscriptions that share a connection begin and end each for itself: after
// notifications/cancelled no push comes of the one that it names.
func TestListenEndsByNotificationsCancelled(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	c := r.as("")
	l := r.dial(t)
	id := c.create("ask", nil)
	c.until(id, "input_required")
	for _, name := range []string{"one", "two"} {
		l.send(request(name, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}, declaring))
		for _, method := range []string{"notifications/subscriptions/acknowledged", "notifications/tasks"} {
			if m := l.next(); m.Method != method || subscription(m.Params) != name {
				t.Fatalf("%s: %s", name, m)
			}
		}
	}
	l.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": map[string]any{"requestId": "one"}})
	// The SDK answers the request all the same, which says that the cancel arrived.
	if m := l.next(); m.ID != "one" || m.Method != "" {
		t.Errorf("after the cancel: %s", m)
	}
	c.cancel(id)
	for {
		m := l.next()
		if subscription(m.Params) == "one" {
			t.Errorf("a push of a subscription that is over: %s", m)
		}
		if m.ID == "two" {
			break
		}
	}
}

// A call that was answered with a task is over: notifications/cancelled, which names
// the call, does not reach the task. Only tasks/cancel does.
func TestNotificationsCancelledLeavesTheTask(t *testing.T) {
	noLeaks(t)
	ended := make(chan error, 1)
	r := start(t, memory(), nil, waiting(ended))
	l := r.dial(t)
	created := l.ask("call", "tools/call", callOf("wait"), declaring)
	id := created.Result["taskId"]
	l.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": map[string]any{"requestId": "call"}})
	for range 3 {
		if got := l.ask("get", "tasks/get", map[string]any{"taskId": id}, declaring); got.Result["status"] != "working" {
			t.Errorf("after notifications/cancelled: %s", got)
		}
	}
	select {
	case cause := <-ended:
		t.Errorf("the handler was told %v", cause)
	default:
	}
	l.ask("cancel", "tasks/cancel", map[string]any{"taskId": id}, declaring)
	r.as("").until(id.(string), "cancelled")
	mustBeCancelled(t, ended)
}

// A server sends no requests: a handler that calls its client from a task is refused, and
// the client does not hear of it.
func TestHandlerOfATaskCannotCallItsClient(t *testing.T) {
	noLeaks(t)
	refused := make(chan error, 3)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "calls", func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := req.Session.Elicit(ctx, elicit("now?"))
			refused <- err
			//lint:ignore SA1019 a handler may still try
			_, err = req.Session.ListRoots(ctx, nil)
			refused <- err
			refused <- req.Session.Ping(ctx, nil)
			return text("done"), nil, nil
		}, nil)
	})
	l := r.dial(t)
	created := l.ask(1, "tools/call", callOf("calls"), declaring)
	id, _ := created.Result["taskId"].(string)
	for range cap(refused) {
		if err := <-refused; err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the handler called its client: %v", err)
		}
	}
	r.as("").until(id, "completed")
	if got := l.ask(2, "tasks/get", map[string]any{"taskId": id}, declaring); got.Result["status"] != "completed" {
		t.Errorf("the next message: %s", got)
	}
}
