package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// sdkClient connects a client of the SDK alone that answers questions.
func sdkClient(t *testing.T, transport mcp.Transport, middleware ...mcp.Middleware) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil
		},
	})
	client.AddSendingMiddleware(middleware...)
	if err := mcp.AddSendingCustomMethod[*probeParams, *probeResult](client, "tasks/get"); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// marks are the methods of requests that were sent in a ctx with a mark.
type marks struct {
	mu   sync.Mutex
	seen []string
}

func (m *marks) look(ctx context.Context, method string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Value(markKey{}) != nil {
		m.seen = append(m.seen, method)
	}
}

// A markedTransport looks at the ctx of each message that it writes.
type markedTransport struct {
	mcp.Transport
	marks *marks
}

type markedConn struct {
	mcp.Connection
	marks *marks
}

func (t markedTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := t.Transport.Connect(ctx)
	return markedConn{conn, t.marks}, err
}

func (c markedConn) Write(ctx context.Context, m jsonrpc.Message) error {
	if req, ok := m.(*jsonrpc.Request); ok && req.IsCall() {
		c.marks.look(ctx, req.Method)
	}
	return c.Connection.Write(ctx, m)
}

// markedHTTP looks at the ctx of each HTTP request.
type markedHTTP struct{ marks *marks }

func (h markedHTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	method := req.Header.Get("Mcp-Method")
	if req.Method == http.MethodGet {
		method = http.MethodGet
	}
	h.marks.look(req.Context(), method)
	return http.DefaultTransport.RoundTrip(req)
}

// An exchange travels in the ctx, to the transport that sends the request.
func TestSDKPassesTheContextOfACallToItsTransport(t *testing.T) {
	f := newFake(t, map[string][]string{"tools/call": {`{"resultType":"complete","content":[]}`}})
	server := httptest.NewServer(f)
	defer server.Close()
	sdk := sdkServer(returnsNothing)
	if err := mcp.AddReceivingCustomMethod(sdk, "tasks/get", func(context.Context, *mcp.ServerSession, *probeParams) (mcp.Result, error) {
		return &probeResult{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	clientSide, serverSide := mcp.NewInMemoryTransports()
	if _, err := sdk.Connect(t.Context(), serverSide, nil); err != nil {
		t.Fatal(err)
	}
	for name, transport := range map[string]func(*marks) mcp.Transport{
		"connection": func(m *marks) mcp.Transport { return markedTransport{clientSide, m} },
		"http": func(m *marks) mcp.Transport {
			return &mcp.StreamableClientTransport{Endpoint: server.URL, HTTPClient: &http.Client{Transport: markedHTTP{m}}, DisableStandaloneSSE: true}
		},
	} {
		m := &marks{}
		session := sdkClient(t, transport(m))
		ctx := context.WithValue(t.Context(), markKey{}, "marked")
		if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := mcp.CallCustomMethod[*probeParams, *probeResult](ctx, session, "tasks/get", &probeParams{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(m.seen, []string{"tools/call", "tasks/get"}) {
			t.Errorf("%s: marked %v", name, m.seen)
		}
	}
}

// The second half of a stream may hold the task.
func TestSDKReadsTheRestOfAStreamInTheContextOfItsCall(t *testing.T) {
	f := newFake(t, map[string][]string{"tools/call": {`{"resultType":"complete","content":[]}`}})
	server := httptest.NewServer(f.inHalves())
	defer server.Close()
	m := &marks{}
	session := sdkClient(t, &mcp.StreamableClientTransport{
		Endpoint: server.URL, HTTPClient: &http.Client{Transport: markedHTTP{m}}, DisableStandaloneSSE: true,
	})
	ctx := context.WithValue(t.Context(), markKey{}, "marked")
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(m.seen, []string{"tools/call", http.MethodGet}) {
		t.Errorf("marked %v", m.seen)
	}
}

// A question that is answered makes a second request of one call, within the client's
// middleware; a task may ask as often as a call may.
func TestSDKSendsACallAgainWithAnswers(t *testing.T) {
	f := newFake(t, map[string][]string{"tools/call": {`{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"sure?"}}}}`}})
	server := httptest.NewServer(f)
	defer server.Close()
	ran, m := 0, &marks{}
	session := sdkClient(t, &mcp.StreamableClientTransport{
		Endpoint: server.URL, HTTPClient: &http.Client{Transport: markedHTTP{m}}, DisableStandaloneSSE: true,
	}, around(func(ctx context.Context, method string, _ mcp.Request) (context.Context, error) {
		if method == "tools/call" {
			ran++
		}
		return ctx, nil
	}))
	_, err := session.CallTool(context.WithValue(t.Context(), markKey{}, "marked"), &mcp.CallToolParams{Name: "tool"})
	if err == nil || ran != 1 || len(m.seen) != mcptasks.MaxRounds || f.times("tools/call") != mcptasks.MaxRounds {
		t.Errorf("%d runs of the middleware, marked %v, %v", ran, m.seen, err)
	}
}

// The client decides by the SDK's error whether to send a request about a task again.
func TestSDKRejectsARequestThatWasNotDelivered(t *testing.T) {
	f := newFake(t, nil)
	var status atomic.Int32
	f.http = func(w http.ResponseWriter, method, _ string) bool {
		if method != "tasks/get" {
			return false
		}
		if status.Load() == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(int(status.Load()))
		return true
	}
	server := httptest.NewServer(f)
	defer server.Close()
	session := sdkClient(t, &mcp.StreamableClientTransport{
		Endpoint: server.URL, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, DisableStandaloneSSE: true,
	})
	get := func() error {
		_, err := mcp.CallCustomMethod[*probeParams, *probeResult](t.Context(), session, "tasks/get", &probeParams{})
		return err
	}
	var wire *jsonrpc.Error
	var causes interface{ Unwrap() []error }
	var attempt *url.Error
	err := get()
	if !errors.As(err, &wire) || wire.Code != mcptasks.CodeRejected || !errors.As(err, &causes) || !errors.As(err, &attempt) {
		t.Errorf("an attempt that failed: %v", err)
	}
	status.Store(http.StatusServiceUnavailable)
	err = get()
	if !errors.As(err, &wire) || wire.Code != mcptasks.CodeRejected || errors.As(err, &causes) {
		t.Errorf("status 503: %v", err)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	if err := get(); !errors.Is(err, mcp.ErrConnectionClosed) {
		t.Errorf("a session that is closed: %v", err)
	}
}

func TestSDKIgnoresBytesAfterAMessage(t *testing.T) {
	f := newFake(t, nil)
	f.http = func(w http.ResponseWriter, method, message string) bool {
		if method != "tasks/get" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, message, " and more")
		return true
	}
	server := httptest.NewServer(f)
	defer server.Close()
	session := sdkClient(t, &mcp.StreamableClientTransport{Endpoint: server.URL, DisableStandaloneSSE: true})
	res, err := mcp.CallCustomMethod[*probeParams, *probeResult](t.Context(), session, "tasks/get", &probeParams{TaskID: json.RawMessage(`"t1"`)})
	if err != nil || res.ResultType != "complete" {
		t.Errorf("got %v, %v", res, err)
	}
}

// RoundTripper holds back an event that the SDK would take, and no larger one.
func TestSDKTakesEventsOfUpToTheSizeThatIsHeld(t *testing.T) {
	if mcp.DefaultMaxEventSize != mcptasks.MaxHeld {
		t.Errorf("the SDK takes %d bytes, %d are held", mcp.DefaultMaxEventSize, mcptasks.MaxHeld)
	}
}
