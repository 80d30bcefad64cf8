package mcptasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A sent is a request as a client sent it.
type sent struct {
	method string
	params map[string]any
	header http.Header
	at     time.Time
}

// A specServer is a transport on which some methods are answered by the test, as a
// server of somebody else might, and all others by a replica.
type specServer struct {
	script map[string]func(n int) any // n: which request of the method this is, from 1

	mu   sync.Mutex
	sent []sent
}

func (s *specServer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		return http.DefaultTransport.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params map[string]any  `json:"params"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	n := s.record(sent{m.Method, m.Params, req.Header.Clone(), time.Now()})
	answer := s.script[m.Method]
	if answer == nil {
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		return http.DefaultTransport.RoundTrip(req)
	}
	raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": answer(n)})
	if err != nil {
		return nil, err
	}
	return answering(http.StatusOK, "application/json", string(raw))(req)
}

func (s *specServer) record(request sent) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, request)
	for _, other := range s.sent {
		if other.method == request.method {
			n++
		}
	}
	return n
}

// of returns the requests of a method.
func (s *specServer) of(method string) (all []sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		if r.method == method {
			all = append(all, r)
		}
	}
	return all
}

// specSession is the session of a client to r that hears the script's answers.
func specSession(t *testing.T, r *replica, client *mcp.Client, opts *mcptasks.ClientOptions, script map[string]func(n int) any) (*mcp.ClientSession, *specServer) {
	t.Helper()
	if client == nil {
		client = acceptingClient(nil)
	}
	if err := mcptasks.InstallClient(client, opts); err != nil {
		t.Fatal(err)
	}
	s := &specServer{script: script}
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: r.url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(s)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, s
}

// acceptingClient is a client that accepts each question and tells of it.
func acceptingClient(asked func(message string)) *mcp.Client {
	return mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if asked != nil {
				asked(req.Params.Message)
			}
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"ok": true}}, nil
		},
	})
}

// aTask is a task as a server sends it, with the fields in place of its own.
func aTask(status string, fields map[string]any) map[string]any {
	task := map[string]any{
		"resultType": "complete", "taskId": "task", "status": status, "ttlMs": nil, "pollIntervalMs": 1,
		"createdAt": "2026-08-01T00:00:00Z", "lastUpdatedAt": "2026-08-01T00:00:00Z",
	}
	for name, value := range fields {
		task[name] = value
	}
	return task
}

func aResult(s string) map[string]any {
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": s}}}
}

func always(v any) func(int) any { return func(int) any { return v } }

func mustCall(t *testing.T, session *mcp.ClientSession, tool, want string) {
	t.Helper()
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool})
	if err != nil || len(res.Content) != 1 || res.Content[0].(*mcp.TextContent).Text != want {
		t.Errorf("CallTool: %v, %v", res, err)
	}
}

// A client says with each request that it knows tasks, and names the task of a
// request in its header, encoded if it has to be.
func TestClientDeclaresAndNamesInEachRequest(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		add(tasks, server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			select {
			case <-ctx.Done():
				ended <- context.Cause(ctx)
			case <-time.After(10 * time.Second): // the client waits for a result
			}
			return nil, nil, errors.New("over")
		}, nil)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	session, s := specSession(t, r, nil, &mcptasks.ClientOptions{OnTask: func(ctx context.Context, _ mcptasks.ClientTask) {
		if ctx.Value(canceller{}) != nil {
			cancel()
		}
	}}, nil)
	mustCall(t, session, "ask", "answered: accept")
	if _, err := session.CallTool(context.WithValue(ctx, canceller{}, true), &mcp.CallToolParams{Name: "wait"}); !errors.Is(err, context.Canceled) {
		t.Errorf("CallTool: %v", err)
	}
	mustBeCancelled(t, ended)
	for _, method := range []string{"tools/call", "tasks/get", "tasks/update", "tasks/cancel"} {
		all := s.of(method)
		if len(all) == 0 {
			t.Errorf("no %s", method)
		}
		for _, req := range all {
			meta, _ := req.params["_meta"].(map[string]any)
			capabilities, _ := meta["io.modelcontextprotocol/clientCapabilities"].(map[string]any)
			extensions, _ := capabilities["extensions"].(map[string]any)
			if settings, ok := extensions[extension].(map[string]any); !ok || len(settings) != 0 {
				t.Errorf("%s declares %v", method, capabilities)
			}
			want := req.params["taskId"]
			if method == "tools/call" {
				want = req.params["name"]
			}
			if got := req.header.Get("Mcp-Name"); got != want || req.header.Get("Mcp-Method") != method {
				t.Errorf("%s of %v has the headers %v", method, want, req.header)
			}
		}
	}

	for _, id := range []string{"a b", "<&>", "tâche", " x", "x ", "a\nb", "=?base64?eA==?="} {
		session, s := specSession(t, r, nil, nil, map[string]func(int) any{
			"tools/call": always(aTask("working", map[string]any{"resultType": "task", "taskId": id})),
			"tasks/get":  always(aTask("completed", map[string]any{"taskId": id, "result": aResult("done")})),
		})
		mustCall(t, session, "ask", "done")
		for _, req := range s.of("tasks/get") {
			plain := id == "a b" || id == "<&>"
			if got := req.header.Get("Mcp-Name"); req.params["taskId"] != id || got != encoded(id) && (got != id || !plain) {
				t.Errorf("task %q is named %q", id, got)
			}
		}
	}
}

type canceller struct{}

// A client does not put the same question twice, however often it sees it, and
// answers it once; it goes on polling after that, to the end.
func TestClientPutsEachQuestionOnce(t *testing.T) {
	r := start(t, memory(), nil, asking)
	question := func(message string) any {
		return map[string]any{"method": "elicitation/create", "params": map[string]any{
			"mode": "form", "message": message, "requestedSchema": map[string]any{"type": "object", "properties": map[string]any{}},
		}}
	}
	var asked []string
	session, s := specSession(t, r, acceptingClient(func(message string) { asked = append(asked, message) }), nil, map[string]func(int) any{
		"tools/call": always(aTask("working", map[string]any{"resultType": "task"})),
		"tasks/get": func(n int) any {
			switch {
			case n <= 3:
				return aTask("input_required", map[string]any{"inputRequests": map[string]any{"a": question("first")}})
			case n <= 5: // the old one may still be there
				return aTask("input_required", map[string]any{"inputRequests": map[string]any{"a": question("first"), "b": question("second")}})
			case n <= 6:
				return aTask("working", nil)
			}
			return aTask("completed", map[string]any{"result": aResult("done")})
		},
		"tasks/update": always(map[string]any{"resultType": "complete"}),
	})
	mustCall(t, session, "ask", "done")
	if fmt.Sprint(asked) != "[first second]" {
		t.Errorf("asked %q", asked)
	}
	var keys []string
	for _, req := range s.of("tasks/update") {
		for key := range req.params["inputResponses"].(map[string]any) {
			keys = append(keys, key)
		}
	}
	if fmt.Sprint(keys) != "[a b]" {
		t.Errorf("answered %q", keys)
	}
	if n := len(s.of("tasks/get")); n != 7 {
		t.Errorf("%d looks", n)
	}
}

// The interval is that of the last answer.
func TestClientFollowsTheIntervalAsItChanges(t *testing.T) {
	r := start(t, memory(), nil, asking)
	const long = 300 * time.Millisecond
	session, s := specSession(t, r, nil, nil, map[string]func(int) any{
		"tools/call": always(aTask("working", map[string]any{"resultType": "task"})),
		"tasks/get": func(n int) any {
			switch n {
			case 1:
				return aTask("working", map[string]any{"pollIntervalMs": long.Milliseconds()})
			case 2:
				return aTask("working", nil)
			}
			return aTask("completed", map[string]any{"result": aResult("done")})
		},
	})
	mustCall(t, session, "ask", "done")
	looks := s.of("tasks/get")
	if len(looks) != 3 || looks[1].at.Sub(looks[0].at) < long {
		t.Errorf("looks at %v", looks)
	}
}

// A task's questions go the way of those that a server asks by itself: through the
// client's receiving middleware, which can refuse them.
func TestQuestionsOfTasksPassTheClientsMiddleware(t *testing.T) {
	r := start(t, memory(), nil, asking)
	client := acceptingClient(func(string) { t.Error("asked in spite of the middleware") })
	seen := 0
	client.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "elicitation/create" {
				seen++
				return &mcp.ElicitResult{Action: "decline"}, nil
			}
			return next(ctx, method, req)
		}
	})
	session, _ := specSession(t, r, client, nil, nil)
	mustCall(t, session, "ask", "answered: decline")
	if seen != 1 {
		t.Errorf("the middleware saw %d questions", seen)
	}
}

// A server that leaves resultType out, as older ones do, has completed.
func TestAnswersWithoutResultTypeAreComplete(t *testing.T) {
	r := start(t, memory(), nil, asking)
	bare := aTask("completed", map[string]any{"result": aResult("done")})
	delete(bare, "resultType")
	session, _ := specSession(t, r, nil, nil, map[string]func(int) any{
		"tools/call": always(aTask("working", map[string]any{"resultType": "task"})),
		"tasks/get":  always(bare),
	})
	mustCall(t, session, "ask", "done")
}

// A client that gives a task up says so by tasks/cancel, even if it could send
// notifications/cancelled.
func TestClientCancelsByTasksCancel(t *testing.T) {
	noLeaks(t)
	ended := make(chan error, 1)
	r := start(t, memory(), nil, waiting(ended))
	ctx, cancel := context.WithCancel(t.Context())
	session := clientOf(t, r, false, func(mcptasks.ClientTask) { cancel() })
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"}); !errors.Is(err, context.Canceled) {
		t.Errorf("CallTool: %v", err)
	}
	mustBeCancelled(t, ended)
}
