package mcptasks_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A fault takes the place of the answer to a request.
type fault func(*http.Request) (*http.Response, error)

func (f fault) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answering answers with a status, and with a body of the kind.
func answering(status int, kind, body string) fault {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Request: req, ContentLength: -1,
			Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

func refusing(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// lost lets the server have the request, and drops the answer.
func lost(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return nil, errors.New("connection reset by peer")
}

// cut ends within an answer, as with a server that is killed.
func cut(kind, half string) fault {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := answering(http.StatusOK, kind, "")(req)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(half), brokenReader{}))
		return resp, err
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A faulty is a transport on which the next requests of some methods meet a fault.
type faulty struct {
	fault fault

	mu   sync.Mutex
	left map[string]int // by method: how many yet
	sent map[string]int
}

func (f *faulty) RoundTrip(req *http.Request) (*http.Response, error) {
	method := req.Header.Get("Mcp-Method")
	f.mu.Lock()
	f.sent[method]++
	meets := f.left[method] > 0
	f.left[method]--
	f.mu.Unlock()
	if meets {
		return f.fault(req)
	}
	return http.DefaultTransport.RoundTrip(req)
}

func (f *faulty) times(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[method]
}

// meeting returns a session that meets the fault on its first requests of the methods.
func meeting(t *testing.T, r *replica, fault fault, left map[string]int, opts mcptasks.ClientOptions) (*mcp.ClientSession, *faulty) {
	t.Helper()
	f := &faulty{fault: fault, left: left, sent: make(map[string]int)}
	transport := &mcp.StreamableClientTransport{Endpoint: r.url, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(f)}}
	return connect(t, transport, opts), f
}

// connect returns a session of a client of its own, which accepts every form.
func connect(t *testing.T, transport mcp.Transport, opts mcptasks.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil
		},
	})
	if err := mcptasks.InstallClient(client, &opts); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// passing are the faults after which a server may be there again.
var passing = map[string]fault{
	"refused":     refusing,
	"lost":        lost,
	"429":         answering(http.StatusTooManyRequests, "text/plain", "slow down"),
	"500":         answering(http.StatusInternalServerError, "text/plain", "oops"),
	"502":         answering(http.StatusBadGateway, "text/html", "<p>bad gateway"),
	"503":         answering(http.StatusServiceUnavailable, "text/plain", "not now"),
	"504":         answering(http.StatusGatewayTimeout, "text/plain", "too late"),
	"half JSON":   cut("application/json", `{"jsonrpc":"2.0","id":`),
	"half events": cut("text/event-stream", "event: message\ndata: {"),
}

// A task outlives a server that is unreachable for a while, because its client retries
// polls and answers alike.
func TestClientOutlivesFaults(t *testing.T) {
	for name, fault := range passing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, memory(), nil, asking)
			session, f := meeting(t, r, fault, map[string]int{"tasks/get": 3, "tasks/update": 2}, mcptasks.ClientOptions{})
			res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"})
			if err != nil || len(res.Content) != 1 || res.Content[0].(*mcp.TextContent).Text != "answered: accept" {
				t.Fatalf("got %v, %v", res, err)
			}
			if f.times("tools/call") != 1 || f.times("tasks/update") != 3 || f.times("tasks/get") < 5 || f.times("tasks/cancel") != 0 {
				t.Errorf("sent: %v", f.sent)
			}
		})
	}
}

// An answer that does not get through at all ends the call and not the task.
func TestClientLeavesTheTaskIfItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	r := start(t, memory(), nil, asking)
	var id string
	session, f := meeting(t, r, refusing, map[string]int{"tasks/update": 1}, mcptasks.ClientOptions{
		RetryFor: -1, OnTask: func(_ context.Context, task mcptasks.ClientTask) { id = task.ID },
	})
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); err == nil {
		t.Fatal("it was answered")
	}
	if n := f.times("tasks/cancel"); n != 0 {
		t.Errorf("%d cancels", n)
	}
	res, err := mcptasks.Await(t.Context(), session, id)
	if err != nil || len(res.Content) != 1 || res.Content[0].(*mcp.TextContent).Text != "answered: accept" {
		t.Errorf("got %v, %v", res, err)
	}
}

// A cancel is retried too, because its caller has gone and cannot repeat it.
func TestClientCancelsAfterFaults(t *testing.T) {
	for name, fault := range passing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			r := start(t, memory(), nil, waiting(ended))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			session, f := meeting(t, r, fault, map[string]int{"tasks/cancel": 3}, mcptasks.ClientOptions{
				OnTask: func(context.Context, mcptasks.ClientTask) { cancel() },
			})
			if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if n := f.times("tasks/cancel"); n != 4 {
				t.Errorf("%d cancels", n)
			}
			mustBeCancelled(t, ended)
		})
	}
}

func mustBeCancelled(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case cause := <-ended:
		if !errors.Is(cause, mcptasks.ErrCancelled) {
			t.Errorf("the handler ended by %v", cause)
		}
	case <-time.After(10 * time.Second):
		t.Error("the task was not cancelled")
	}
}

// A tool is called once, because a second attempt could make a second task.
func TestClientCallsToolsOnce(t *testing.T) {
	for name, fault := range passing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session, f := meeting(t, start(t, memory(), nil, asking), fault, map[string]int{"tools/call": 1}, mcptasks.ClientOptions{})
			if res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"}); err == nil {
				t.Errorf("got %v", res)
			}
			if n := f.times("tools/call"); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// The client makes no further attempt after an answer, or after a status that is
// permanent.
func TestClientTakesAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		code  int64
		says  string
	}{
		"an error":           {answering(http.StatusOK, "application/json", `{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"Task not found"}}`), -32602, "Task not found"},
		"an error, with 400": {answering(http.StatusBadRequest, "application/json", `{"jsonrpc":"2.0","id":3,"error":{"code":-32020,"message":"no header"}}`), -32020, "no header"},
		"401":                {answering(http.StatusUnauthorized, "text/plain", "who?"), 0, "Unauthorized"},
		"403":                {answering(http.StatusForbidden, "text/plain", "no"), 0, "Forbidden"},
		"404":                {answering(http.StatusNotFound, "text/plain", "what?"), 0, "Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session, f := meeting(t, start(t, memory(), nil, asking), c.fault, map[string]int{"tasks/get": 100}, mcptasks.ClientOptions{})
			_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if answer := (*jsonrpc.Error)(nil); c.code != 0 && (!errors.As(err, &answer) || answer.Code != c.code) {
				t.Errorf("got %v, not code %d", err, c.code)
			}
			if n := f.times("tasks/get"); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// People are asked for authorization once for each call.
func TestClientDoesNotAuthorizeAgain(t *testing.T) {
	r := start(t, memory(), nil, asking)
	f := &faulty{
		fault: answering(http.StatusUnauthorized, "text/plain", "who?"),
		left:  map[string]int{"tasks/get": 100}, sent: make(map[string]int),
	}
	people := &denying{}
	session := connect(t, &mcp.StreamableClientTransport{
		Endpoint: r.url, OAuthHandler: people, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(f)},
	}, mcptasks.ClientOptions{})
	_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"})
	if !errors.Is(err, errDenied) || people.asked != 1 {
		t.Errorf("asked %d times: %v", people.asked, err)
	}
}

var errDenied = errors.New("denied")

// denying are people without a token to give.
type denying struct {
	auth.AuthorizationCodeHandler
	asked int
}

func (d *denying) Authorize(_ context.Context, _ *http.Request, resp *http.Response) error {
	d.asked++
	_ = resp.Body.Close()
	return errDenied
}

// A server ends, and another replica starts at the same address. One poll fails, and the
// next ones reach the other replica.
func TestClientOutlivesRestart(t *testing.T) {
	store := memory()
	one := httptest.NewUnstartedServer(nil)
	replicaOf := func() http.Handler {
		tasks, server, err := assemble(store, fast(), asking)
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(tasks, server)
	}
	one.Config.Handler = replicaOf()
	one.Start()
	address := one.Listener.Addr().String()

	base := &noticing{base: &http.Transport{}, noticed: make(chan struct{}, 100)}
	stopped := false
	session := connect(t, &mcp.StreamableClientTransport{
		Endpoint: one.URL, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(base)},
	}, mcptasks.ClientOptions{OnTask: func(context.Context, mcptasks.ClientTask) {
		if !stopped {
			one.CloseClientConnections()
			one.Close()
			stopped = true
		}
	}})
	type answer struct {
		res *mcp.CallToolResult
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"})
		answered <- answer{res, err}
	}()
	select {
	case <-base.noticed: // an attempt has failed
	case a := <-answered:
		t.Fatalf("the call succeeded: %v, %v", a.res, a.err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	two := &httptest.Server{Listener: listener, Config: &http.Server{Handler: replicaOf(), ReadHeaderTimeout: time.Second}}
	two.Start()
	defer two.Close()
	defer base.base.CloseIdleConnections()
	if a := <-answered; a.err != nil || a.res.Content[0].(*mcp.TextContent).Text != "answered: accept" {
		t.Errorf("got %v, %v", a.res, a.err)
	}
}

// A noticing transport tells of attempts that failed.
type noticing struct {
	base    *http.Transport
	noticed chan struct{}
}

func (n *noticing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.base.RoundTrip(req)
	if err != nil {
		n.noticed <- struct{}{}
	}
	return resp, err
}
