package mcptasks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An event is a message on a stream.
type event struct {
	Method string          `json:"method"`
	Params map[string]any  `json:"params"`
	Result map[string]any  `json:"result"`
	Error  map[string]any  `json:"error"`
	Raw    json.RawMessage `json:"-"`
}

// listen opens a stream and returns its messages; the channel is closed at its end.
func (c *caller) listen(ctx context.Context, notifications map[string]any) <-chan event {
	c.t.Helper()
	return c.listenTo(c.request(ctx, "subscriptions/listen", map[string]any{"notifications": notifications}))
}

// listenTo is listen with a request of the caller's own.
func (c *caller) listenTo(req *http.Request) <-chan event {
	c.t.Helper()
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("listen: HTTP %d", resp.StatusCode)
	}
	events := make(chan event)
	go func() {
		defer close(events)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			e := event{Raw: json.RawMessage(data)}
			if json.Unmarshal(e.Raw, &e) != nil {
				return
			}
			select {
			case events <- e:
			case <-req.Context().Done():
				return
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came")
	}
	return event{}
}

func TestListen(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		release := make(chan struct{})
		opts := fast()
		opts.Tasks.PollInterval = time.Minute // pushes come by hints
		one := start(t, open(), opts, statusTools(release)).as("alice")
		two := start(t, open(), opts, statusTools(release)).as("alice")
		working, asking := one.create("work", nil), one.create("ask", nil)
		one.until(asking, "input_required")
		foreign := one.replica.as("bob").create("ask", nil)

		events := two.listen(t.Context(), map[string]any{"taskIds": []string{working, asking, foreign, "x", working}})
		ack := next(t, events)
		agreed, _ := ack.Params["notifications"].(map[string]any)["taskIds"].([]any)
		if ack.Method != "notifications/subscriptions/acknowledged" || len(agreed) != 2 || agreed[0] != working || agreed[1] != asking {
			t.Fatalf("the acknowledgement: %s", ack.Raw)
		}
		status := map[any]any{}
		for status[working] != "working" || status[asking] != "input_required" {
			e := next(t, events)
			validate(t, "TaskStatusNotification", e.Raw)
			if meta, _ := e.Params["_meta"].(map[string]any); meta["io.modelcontextprotocol/subscriptionId"] != float64(7) {
				t.Errorf("no subscription id: %s", e.Raw)
			}
			status[e.Params["taskId"]] = e.Params["status"]
		}
		close(release)
		for status[working] != "completed" {
			e := next(t, events)
			validate(t, "TaskStatusNotification", e.Raw)
			status[e.Params["taskId"]] = e.Params["status"]
			if e.Params["status"] != "completed" {
				continue
			}
			delete(e.Params, "_meta")
			polled := two.get(working).Result
			delete(polled, "_meta")
			delete(polled, "resultType")
			if a, b := marshal(t, e.Params), marshal(t, polled); a != b {
				t.Errorf("pushed %s\npolled %s", a, b)
			}
		}
		two.cancel(asking)
		for status[asking] != "cancelled" {
			e := next(t, events)
			validate(t, "TaskStatusNotification", e.Raw)
			status[e.Params["taskId"]] = e.Params["status"]
		}
		if e := next(t, events); e.Result == nil {
			t.Errorf("all tasks have ended, and then: %s", e.Raw)
		}
		if _, open := <-events; open {
			t.Error("the stream goes on after its result")
		}
	})
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A client that listens for other things too stays connected.
func TestListenForMore(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	c := r.as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := c.listen(ctx, map[string]any{"taskIds": []string{id}, "toolsListChanged": true})
	ack := next(t, events)
	agreed, _ := ack.Params["notifications"].(map[string]any)
	if agreed["toolsListChanged"] != true || len(agreed["taskIds"].([]any)) != 1 {
		t.Fatalf("the acknowledgement: %s", ack.Raw)
	}
	if e := next(t, events); e.Params["status"] != "input_required" {
		t.Errorf("the snapshot: %s", e.Raw)
	}
	c.cancel(id)
	if e := next(t, events); e.Params["status"] != "cancelled" {
		t.Errorf("the change: %s", e.Raw)
	}
	add(r.tasks, r.mcp, "another", confirm, nil)
	if e := next(t, events); e.Method != "notifications/tools/list_changed" {
		t.Errorf("the other notification: %s", e.Raw)
	}
}

func TestListenRefused(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("alice").create("ask", nil)
	legacy := r.as("alice")
	legacy.legacy = true
	for name, c := range map[string]struct {
		*caller
		ids  any
		code int
	}{
		"no capability": {legacy, []string{id}, -32021},
		"no array":      {r.as("alice"), 42, -32602},
	} {
		got := c.do("subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": c.ids}})
		if got.HTTP != http.StatusBadRequest || got.Error == nil || got.Error.Code != c.code {
			t.Errorf("%s: %v", name, got)
		}
	}
	nobody := r.as("nobody").do("subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}})
	if nobody.Error == nil || nobody.Error.Code != -32600 {
		t.Errorf("a token that names no user: %v", nobody)
	}
}

// Clients that go away leave no goroutine and no connection behind.
func TestDroppedListens(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	c := r.as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		events := c.listen(ctx, map[string]any{"taskIds": []string{id}})
		next(t, events)
		cancel()
		for range events {
		}
	}
}

// The same over a transport with one connection.
func TestTransport(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	c := r.as("")
	id := c.create("ask", nil)
	c.until(id, "input_required")

	stream := r.stream()
	stream.send(c, 1, map[string]any{"taskIds": []string{id}})
	if ack := stream.next(); ack.Method != "notifications/subscriptions/acknowledged" || len(ack.Params["notifications"].(map[string]any)["taskIds"].([]any)) != 1 {
		t.Fatalf("the acknowledgement: %s", ack.Raw)
	}
	if e := stream.next(); e.Params["status"] != "input_required" {
		t.Errorf("the snapshot: %s", e.Raw)
	}
	c.cancel(id)
	if e := stream.next(); e.Params["status"] != "cancelled" {
		t.Errorf("the change: %s", e.Raw)
	}
	if e := stream.next(); e.Result == nil {
		t.Errorf("the end: %s", e.Raw)
	}
	stream.send(c, 2, map[string]any{"taskIds": 42})
	if e := stream.next(); !strings.Contains(string(e.Raw), "-32602") {
		t.Errorf("taskIds that are no array: %s", e.Raw)
	}
}
