package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// ids are request ids that JSON can write in more than one way, as a client writes
// them.
var ids = []string{
	`"<"`, `"\u003c"`, `"<>&"`, `"a\u0062c"`, `"\u00e4\u2028\n"`, `"\ud83d\ude00"`, `"a/b"`, `"a\/b"`, `""`, `"1"`, `1`, `1.0`, `1e2`, `-0`, `9007199254740991`,
}

// The shim compares ids as values, because the two sides may write one differently.
func TestIDsAreComparedAsValues(t *testing.T) {
	r := start(t, memory(), nil, asking)
	c := r.as("")
	task := c.create("ask", nil)
	c.until(task, "input_required")
	t.Run("stream", func(t *testing.T) {
		for _, id := range ids {
			var want any
			if err := json.Unmarshal([]byte(id), &want); err != nil {
				t.Fatal(err)
			}
			s := r.stream()
			s.send(c, json.RawMessage(id), map[string]any{"taskIds": []string{task}, "toolsListChanged": true})
			ack, push := s.next(), s.next()
			if agreed, _ := ack.Params["notifications"].(map[string]any)["taskIds"].([]any); len(agreed) != 1 || push.Params["taskId"] != task {
				t.Errorf("%s: %s and %s", id, ack.Raw, push.Raw)
			}
			for _, e := range []event{ack, push} {
				if meta, _ := e.Params["_meta"].(map[string]any); meta["io.modelcontextprotocol/subscriptionId"] != want {
					t.Errorf("%s: %s", id, e.Raw)
				}
			}
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		for _, id := range ids {
			var want any
			if err := json.Unmarshal([]byte(id), &want); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			req := c.request(ctx, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{task}}})
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(string(body), `"id":7`, `"id":`+id, 1)
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			events := c.listenTo(req)
			for range 2 {
				e := next(t, events)
				if meta, _ := e.Params["_meta"].(map[string]any); meta["io.modelcontextprotocol/subscriptionId"] != want {
					t.Errorf("%s: %s", id, e.Raw)
				}
			}
			cancel()
			for range events {
			}
		}
	})
}

// Two subscriptions of one connection do not get in each other's way, nor does a
// request with the id of one that goes on.
func TestSubscriptionsOfOneConnectionAreTheirOwn(t *testing.T) {
	r := start(t, memory(), nil, asking)
	c := r.as("")
	tasks := []string{c.create("ask", nil), c.create("ask", nil)}
	s := r.stream()
	for i, id := range []any{1, "1"} {
		c.until(tasks[i], "input_required")
		s.send(c, id, map[string]any{"taskIds": []string{tasks[i]}})
		if e := s.next(); e.Method != "notifications/subscriptions/acknowledged" {
			t.Errorf("the acknowledgement: %s", e.Raw)
		}
		if e := s.next(); e.Params["taskId"] != tasks[i] {
			t.Errorf("the snapshot: %s", e.Raw)
		}
	}
	s.send(c, 1, map[string]any{"taskIds": tasks}) // which the SDK drops: the id is in use
	s.send(c, 2, map[string]any{"taskIds": "none"})
	if e := s.next(); e.Error == nil { // so the server has read the one before
		t.Errorf("the refusal: %s", e.Raw)
	}
	for i, task := range tasks {
		c.cancel(task)
		if e := s.next(); e.Params["taskId"] != task || e.Params["status"] != "cancelled" {
			t.Errorf("the end of a task: %s", e.Raw)
		}
		if e := s.next(); e.Result == nil {
			t.Errorf("the end of subscription %d: %s", i, e.Raw)
		}
	}
	s.send(c, 1, map[string]any{"taskIds": tasks}) // its id is free again
	if e := s.next(); e.Method != "notifications/subscriptions/acknowledged" {
		t.Errorf("the acknowledgement: %s", e.Raw)
	}
}

// A scripted connection yields the messages that the test puts into it.
type scripted struct {
	in     chan jsonrpc.Message
	out    chan jsonrpc.Message
	once   sync.Once
	closed chan struct{}
}

func newScripted() *scripted {
	return &scripted{in: make(chan jsonrpc.Message, 9), out: make(chan jsonrpc.Message, 9), closed: make(chan struct{})}
}

func (s *scripted) Connect(context.Context) (mcp.Connection, error) { return s, nil }
func (s *scripted) SessionID() string                               { return "" }

// Read also yields a message that was under way when the connection was closed.
func (s *scripted) Read(context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-s.in:
		return m, nil
	default:
	}
	select {
	case m := <-s.in:
		return m, nil
	case <-s.closed:
		return nil, io.EOF
	}
}

func (s *scripted) Write(_ context.Context, m jsonrpc.Message) error { s.out <- m; return nil }
func (s *scripted) Close() error                                     { s.once.Do(func() { close(s.closed) }); return nil }

// A connection's subscriptions end with it, also those that the server has not seen yet:
// they take no room from others.
func TestAClosedConnectionHasNoSubscriptions(t *testing.T) {
	tasks, err := mcptasks.New(memory(), &mcptasks.Options{MaxSubscriptions: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := (&replica{t: t, url: "http://replica/"}).as("")
	open := func() (mcp.Connection, *scripted) {
		t.Helper()
		raw := newScripted()
		conn, err := tasks.Transport(raw).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return conn, raw
	}
	listen := func(conn mcp.Connection, raw *scripted, id int) {
		t.Helper()
		raw.in <- message(c, id, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{unknownID}}})
		read := make(chan error, 1)
		go func() { _, err := conn.Read(t.Context()); read <- err }()
		select {
		case err := <-read:
			if err != nil {
				t.Error(err)
			}
		case m := <-raw.out:
			text, _ := jsonrpc.EncodeMessage(m)
			t.Errorf("refused: %s", text)
			_ = raw.Close()
			<-read
		}
	}
	for range 3 {
		conn, raw := open()
		listen(conn, raw, 1)
		listen(conn, raw, 2)
		_ = conn.Close()
		_ = conn.Close() // as the SDK may
		listen(conn, raw, 3)
		if _, err := conn.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("the connection below is not closed: %v", err)
		}
	}
	// A response ends one, and only that.
	conn, raw := open()
	listen(conn, raw, 1)
	listen(conn, raw, 2)
	id, _ := jsonrpc.MakeID(float64(1))
	if err := conn.Write(t.Context(), &jsonrpc.Response{ID: id, Result: json.RawMessage(`{}`)}); err != nil {
		t.Error(err)
	}
	<-raw.out
	listen(conn, raw, 3)
	raw.in <- message(c, 4, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{unknownID}}})
	raw.in <- message(c, 5, "tools/list", map[string]any{})
	if m, err := conn.Read(t.Context()); err != nil || m.(*jsonrpc.Request).Method != "tools/list" {
		t.Errorf("one too many reached the server: %v", m)
	}
	if refused := (<-raw.out).(*jsonrpc.Response); refused.Error == nil {
		t.Errorf("one too many: %s", refused.Result)
	}
}

// A client that goes away takes its subscriptions with it.
func TestABrokenConnectionEndsItsSubscriptions(t *testing.T) {
	noLeaks(t)
	opts := fast()
	opts.MaxSubscriptions = 1
	r := start(t, memory(), opts, asking)
	c := r.as("")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	for range 3 {
		s := r.stream()
		for deadline := time.Now().Add(20 * time.Second); ; { // until the server has noticed
			s.send(c, 1, map[string]any{"taskIds": []string{id}, "toolsListChanged": true})
			e := s.next()
			if e.Method == "notifications/subscriptions/acknowledged" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("no room: %s", e.Raw)
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = s.conn.Close()
	}
}
