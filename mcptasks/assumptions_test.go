//lint:file-ignore SA1019 handlers may still ask in the way that is deprecated

package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// This package relies on properties of the SDK that its documentation does not promise.
// Each has a test here, or in assumptions_client_test.go, on the SDK alone. A new version
// of the SDK that breaks a property fails the test of that name.

type markKey struct{}

// The params and the result of a custom method.
type (
	probeParams struct {
		mcp.ParamsBase
		TaskID json.RawMessage `json:"taskId,omitempty"`
	}
	probeResult struct {
		mcp.ResultBase
		ResultType string `json:"resultType"`
	}
)

// sdkServer returns a server of the SDK alone, with a tool.
func sdkServer(tool mcp.ToolHandler) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "the server", Version: "1"}, nil)
	server.AddTool(&mcp.Tool{Name: "tool", InputSchema: map[string]any{"type": "object"}}, tool)
	return server
}

func returnsNothing(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return &mcp.CallToolResult{}, nil
}

// dialSDK returns a connection by hand to a server of the SDK alone.
func dialSDK(t *testing.T, server *mcp.Server) *line {
	t.Helper()
	return dialThrough(t, server, func(transport mcp.Transport) mcp.Transport { return transport })
}

// around is middleware that does something before all else.
func around(before func(ctx context.Context, method string, req mcp.Request) (context.Context, error)) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			ctx, err := before(ctx, method, req)
			if err != nil {
				return nil, err
			}
			return next(ctx, method, req)
		}
	}
}

func TestSDKKeepsTheNameOfAServer(t *testing.T) {
	name, ok := mcptasks.ImplementationName(sdkServer(returnsNothing))
	if name != "the server" || !ok {
		t.Errorf("got %q, %t", name, ok)
	}
}

// Install relies on both: middleware of the server runs within it or around it, and the
// rest of the chain is known when Install returns.
func TestSDKWrapsMiddlewareAtOnceAndTheLaterAroundTheEarlier(t *testing.T) {
	server := sdkServer(returnsNothing)
	var made, ran []string
	add := func(name string) {
		server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			made = append(made, name)
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if method == "tools/call" {
					ran = append(ran, name)
				}
				return next(ctx, method, req)
			}
		})
	}
	add("earlier")
	add("later")
	if !slices.Equal(made, []string{"earlier", "later"}) {
		t.Errorf("made: %v", made)
	}
	dialSDK(t, server).ask(1, "tools/call", map[string]any{"name": "tool"}, silent)
	if !slices.Equal(ran, []string{"later", "earlier"}) {
		t.Errorf("ran: %v", ran)
	}
}

// Runs bypass the middleware of a server: they call the handler that the first middleware
// of another server was given.
func TestSDKHasOneEndOfAllChainsWhichServesTheServerOfTheSession(t *testing.T) {
	var end mcp.MethodHandler
	sdkServer(nil).AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler { end = next; return next })
	server := sdkServer(func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Meta: mcp.Meta{"by": "the session's server"}}, nil
	})
	server.AddReceivingMiddleware(around(func(ctx context.Context, _ string, _ mcp.Request) (context.Context, error) {
		t.Error("the chain of the session's server is called")
		return ctx, nil
	}))
	n := nowhere{make(chan *jsonrpc.Request, 10), make(chan struct{})}
	session, err := server.Connect(t.Context(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	res, err := end(t.Context(), "tools/call", &mcp.CallToolRequest{Session: session, Params: &mcp.CallToolParamsRaw{Name: "tool"}})
	if result, ok := res.(*mcp.CallToolResult); err != nil || !ok || result.Meta["by"] != "the session's server" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestSDKGivesTheHandlerOfACustomMethodTheContextOfMiddleware(t *testing.T) {
	server := sdkServer(returnsNothing)
	var mark any
	if err := mcp.AddReceivingCustomMethod(server, "tasks/get", func(ctx context.Context, _ *mcp.ServerSession, _ *probeParams) (mcp.Result, error) {
		mark = ctx.Value(markKey{})
		return &probeResult{ResultType: "complete"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	var id string
	server.AddReceivingMiddleware(around(func(ctx context.Context, method string, req mcp.Request) (context.Context, error) {
		if r, ok := req.(*mcp.ServerRequest[*probeParams]); ok && method == "tasks/get" {
			id = string(r.Params.TaskID)
		}
		return context.WithValue(ctx, markKey{}, "marked"), nil
	}))
	answer := dialSDK(t, server).ask(1, "tasks/get", map[string]any{"taskId": 7}, silent)
	if mark != "marked" || id != "7" || answer.Result["resultType"] != "complete" {
		t.Errorf("mark %v, id %q, answer %s", mark, id, answer)
	}
}

func TestSDKLeavesTheCapabilitiesOfARequestDecodedInItsMeta(t *testing.T) {
	server := sdkServer(returnsNothing)
	var found any
	server.AddReceivingMiddleware(around(func(ctx context.Context, method string, req mcp.Request) (context.Context, error) {
		if all, ok := req.GetParams().GetMeta()[mcp.MetaKeyClientCapabilities].(map[string]any); ok {
			extensions, _ := all["extensions"].(map[string]any)
			found = extensions[extension]
		}
		return ctx, nil
	}))
	dialSDK(t, server).ask(1, "tools/call", map[string]any{"name": "tool"}, declaring)
	if found == nil {
		t.Error("the decoder has moved the extension")
	}
}

// A nowhere is a transport without a client. It keeps the requests that are written to
// it.
type nowhere struct {
	written chan *jsonrpc.Request
	closed  chan struct{}
}

func (n nowhere) Connect(context.Context) (mcp.Connection, error) { return n, nil }
func (n nowhere) SessionID() string                               { return "" }
func (n nowhere) Read(context.Context) (jsonrpc.Message, error)   { <-n.closed; return nil, io.EOF }
func (n nowhere) Close() error                                    { close(n.closed); return nil }
func (n nowhere) Write(_ context.Context, m jsonrpc.Message) error {
	req := m.(*jsonrpc.Request)
	n.written <- req
	if req.IsCall() {
		return errors.New("the client answers no calls")
	}
	return nil
}

// The handler of a task runs on a session that no client is on.
func TestSDKTakesTheClientOfASessionFromItsState(t *testing.T) {
	var asked error
	var version string
	var elicitation bool
	server := sdkServer(func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		version, elicitation = req.ProtocolVersion(), req.ClientCapabilities().Elicitation != nil
		_, asked = req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "sure?"})
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "token"})
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"k": &mcp.ElicitParams{Message: "sure?"}}}, err
	})
	var chain mcp.MethodHandler
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		chain = next
		return next
	})
	n := nowhere{make(chan *jsonrpc.Request, 10), make(chan struct{})}
	session, err := server.Connect(t.Context(), n, &mcp.ServerSessionOptions{State: &mcp.ServerSessionState{
		InitializeParams: &mcp.InitializeParams{
			ProtocolVersion: "2026-07-28", Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{}},
		},
		InitializedParams: &mcp.InitializedParams{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	res, err := chain(t.Context(), "tools/call", &mcp.CallToolRequest{Session: session, Params: &mcp.CallToolParamsRaw{Name: "tool"}})
	if err != nil {
		t.Fatal(err)
	}
	if result, ok := res.(*mcp.CallToolResult); !ok || result.InputRequests["k"] == nil {
		t.Errorf("the questions do not come out of the chain: %v", res)
	}
	if version != "2026-07-28" || !elicitation {
		t.Errorf("version %q, elicitation %t", version, elicitation)
	}
	if m := <-n.written; m.Method != "notifications/progress" || len(n.written) > 0 || asked == nil {
		t.Errorf("wrote %q and %d more; the question got %v", m.Method, len(n.written), asked)
	}
}

func TestSDKSendsAWireErrorAsItIs(t *testing.T) {
	server := sdkServer(returnsNothing)
	server.AddReceivingMiddleware(around(func(ctx context.Context, _ string, _ mcp.Request) (context.Context, error) {
		return nil, &jsonrpc.Error{Code: -32603, Message: "not now", Data: json.RawMessage(`{"retryable":true}`)}
	}))
	answer := dialSDK(t, server).ask(1, "tools/call", map[string]any{"name": "tool"}, silent)
	if answer.code() != -32603 || answer.Error.Message != "not now" || answer.Error.Data["retryable"] != true {
		t.Error(answer)
	}
}

// A replica learns from this error that a tool was removed, and leaves the tool's tasks
// to other replicas.
func TestSDKSaysUnknownToolOfOneThatIsRemoved(t *testing.T) {
	server := sdkServer(returnsNothing)
	var got error
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			got = err
			return res, err
		}
	})
	server.RemoveTools("tool")
	dialSDK(t, server).ask(1, "tools/call", map[string]any{"name": "tool"}, silent)
	var wire *jsonrpc.Error
	if !errors.As(got, &wire) || wire.Code != jsonrpc.CodeInvalidParams || !strings.HasPrefix(wire.Message, "unknown tool ") {
		t.Errorf("got %v", got)
	}
}

func TestSDKServesASubscriptionUntilItsContextEnds(t *testing.T) {
	server := sdkServer(returnsNothing)
	var token any
	ended := make(chan context.CancelFunc, 2)
	server.AddReceivingMiddleware(around(func(ctx context.Context, _ string, req mcp.Request) (context.Context, error) {
		listen, ok := req.(*mcp.SubscriptionsListenRequest)
		if !ok {
			return ctx, nil
		}
		token = listen.Params.Meta["a/token"]
		ctx, end := context.WithCancel(ctx)
		ended <- end
		return ctx, nil
	}))
	for what, idle := range map[string]bool{"toolsListChanged": false, "unknown": true} {
		l := dialSDK(t, server)
		body := request("listen", "subscriptions/listen", map[string]any{"notifications": map[string]any{what: true}}, silent)
		meta := maps.Clone(body["params"].(map[string]any)["_meta"].(map[string]any))
		meta["a/token"] = "the token"
		body["params"].(map[string]any)["_meta"] = meta
		l.send(body)
		ack := l.next()
		meta, _ = ack.Params["_meta"].(map[string]any)
		if ack.Method != "notifications/subscriptions/acknowledged" || meta[mcp.MetaKeySubscriptionID] != "listen" || token != "the token" {
			t.Errorf("token %v, first %s", token, ack)
		}
		end := <-ended
		if !idle {
			for range 3 {
				l.ask("other", "tools/list", nil, silent) // and no answer before this one
			}
			end()
		}
		if answer := l.next(); answer.ID != "listen" || answer.Result == nil {
			t.Errorf("at the end %s", answer)
		}
		end()
	}
}

// An answer to the second of two requests with one id would end the subscription that
// the first one is.
func TestSDKDropsARequestWithAnIDInUse(t *testing.T) {
	calls, blocked := new(atomic.Int64), make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	defer release()
	server := sdkServer(func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if calls.Add(1) == 1 {
			<-blocked
		}
		return &mcp.CallToolResult{}, nil
	})
	l := dialSDK(t, server)
	call := map[string]any{"name": "tool"}
	l.send(request("same", "tools/call", call, silent))
	for calls.Load() == 0 {
		l.ask("before", "tools/list", nil, silent)
	}
	l.send(request("same", "tools/call", call, silent))
	l.ask("after", "tools/call", call, silent)
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls of the handler", n)
	}
	release()
	if m := l.next(); m.ID != "same" || m.Result == nil {
		t.Errorf("the first request got %s", m)
	}
}

// A firstWriter keeps the first write, and the status that was set before it.
type firstWriter struct {
	http.ResponseWriter
	status int
	first  []byte
}

func (w *firstWriter) WriteHeader(status int) {
	if w.first == nil {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *firstWriter) Write(p []byte) (int, error) {
	if w.first == nil {
		w.first = slices.Clone(p)
	}
	return w.ResponseWriter.Write(p)
}

func (w *firstWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// Handler gives such an error the status that it has over HTTP.
func TestSDKWritesAnErrorInOnePieceBeforeAnyStatus(t *testing.T) {
	server := sdkServer(returnsNothing)
	server.AddReceivingMiddleware(around(func(context.Context, string, mcp.Request) (context.Context, error) {
		return nil, &jsonrpc.Error{Code: -32603, Message: "not now", Data: json.RawMessage(`{"retryable":true}`)}
	}))
	for _, inJSON := range []bool{false, true} {
		sdk := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
			&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: inJSON, PropagateRequestCancellation: true})
		body := mustJSON(t, request(1, "tools/call", map[string]any{"name": "tool"}, silent))
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "tool",
		} {
			req.Header.Set(name, value)
		}
		w := &firstWriter{ResponseWriter: httptest.NewRecorder()}
		sdk.ServeHTTP(w, req)
		data := w.first
		for line := range strings.Lines(string(w.first)) {
			if d, ok := strings.CutPrefix(line, "data:"); ok {
				data = []byte(d)
			}
		}
		m, err := jsonrpc.DecodeMessage(data)
		answer, ok := m.(*jsonrpc.Response)
		if err != nil || !ok || answer.Error == nil || w.status != 0 {
			t.Errorf("JSON %t: status %d, then %q", inJSON, w.status, w.first)
		}
	}
}

// A question without a mode is checked against the client's capabilities by the mode that
// the SDK infers for it.
func TestSDKInfersTheModeOfAQuestionAsThisPackageDoes(t *testing.T) {
	for _, q := range []*mcp.ElicitParams{
		{}, {Mode: "form", URL: "https://example.com"}, {Mode: "url"}, {URL: "https://example.com"}, {ElicitationID: "id"},
	} {
		raw := mustJSON(t, mcp.InputRequestMap{"k": q})
		if sent := strings.Contains(string(raw), `"mode":"url"`); sent != mcptasks.IsURL(q) {
			t.Errorf("%+v is sent as %s", q, raw)
		}
	}
}
