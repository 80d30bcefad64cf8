package taskotel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A replica is a server with telemetry that goes to an exporter. The bearer token names the
// user.
type replica struct {
	testing.TB
	tasks *mcptasks.Tasks
	mcp   *mcp.Server
	url   string
	stop  func() // closes its connections
}

func start(tb testing.TB, e *exporter, store taskstore.StorageBackend, opts *mcptasks.Options, add func(*mcptasks.Tasks, *mcp.Server)) *replica {
	tb.Helper()
	if opts == nil {
		opts = &mcptasks.Options{}
	}
	opts.Tasks.PollInterval = 20 * time.Millisecond
	opts.Logger = slog.New(slog.DiscardHandler)
	e.Observe(opts)
	ts, err := mcptasks.New(e.Backend(store), opts)
	if err != nil {
		tb.Fatal(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	add(ts, server)
	if err := ts.Install(server); err != nil {
		tb.Fatal(err)
	}
	server.AddReceivingMiddleware(e.Middleware())
	web := httptest.NewServer(handlerOf(ts, server))
	r := &replica{TB: tb, tasks: ts, mcp: server, url: web.URL, stop: func() {
		web.CloseClientConnections()
		web.Close()
	}}
	tb.Cleanup(func() {
		r.stop()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = ts.Shutdown(ctx)
	})
	return r
}

// handlerOf serves server to the users whom bearer tokens name.
func handlerOf(ts *mcptasks.Tasks, server *mcp.Server) http.Handler {
	return auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour)}, nil
	}, nil)(ts.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})))
}

// A reply is an answer as it came over the wire.
type reply struct {
	Result map[string]any `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// do sends a request of a user, under the span of ctx.
func (r *replica) do(ctx context.Context, user, method string, params map[string]any) (got reply) {
	r.Helper()
	meta := map[string]any{
		"io.modelcontextprotocol/protocolVersion":    "2026-07-28",
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "test", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"elicitation": map[string]any{}, "extensions": map[string]any{mcptasks.ExtensionID: map[string]any{}}},
	}
	sent := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, sent)
	for key, value := range sent {
		meta[key] = value
	}
	params = maps.Clone(params)
	params["_meta"] = meta
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
	if err != nil {
		r.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	for key, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28",
		"Mcp-Method": method, "Authorization": "Bearer " + user,
	} {
		req.Header.Set(key, value)
	}
	for _, name := range []string{"name", "taskId", "uri"} {
		if s, ok := params[name].(string); ok {
			req.Header.Set("Mcp-Name", s)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	for line := range strings.Lines(string(answer)) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			answer = []byte(data)
		}
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		r.Fatalf("%s: %s %s: %v", method, resp.Status, answer, err)
	}
	return got
}

func (r *replica) call(ctx context.Context, user, tool string, args map[string]any) reply {
	r.Helper()
	if args == nil {
		args = map[string]any{}
	}
	return r.do(ctx, user, "tools/call", map[string]any{"name": tool, "arguments": args})
}

// create calls a tool and returns the id of the task that the call became.
func (r *replica) create(ctx context.Context, user, tool string, args map[string]any) string {
	r.Helper()
	got := r.call(ctx, user, tool, args)
	id, _ := got.Result["taskId"].(string)
	if id == "" {
		r.Fatalf("%s did not become a task: %+v", tool, got)
	}
	return id
}

// until asks for a task until it has the status.
func (r *replica) until(ctx context.Context, user, id, status string) (got reply) {
	r.Helper()
	eventually(r, "a task that is "+status, func() bool {
		got = r.do(ctx, user, "tasks/get", map[string]any{"taskId": id})
		return got.Result["status"] == status
	})
	return got
}

// run looks after tasks until the test ends.
func (r *replica) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
	r.Cleanup(func() {
		cancel()
		<-ran
	})
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

type arguments struct {
	Secret string `json:"secret,omitempty"`
}

type handler = mcp.ToolHandlerFor[arguments, any]

func add(ts *mcptasks.Tasks, server *mcp.Server, name string, h handler, opts *mcptasks.ToolOptions) {
	mcptasks.AddTool(ts, server, &mcp.Tool{Name: name, Description: name}, h, opts)
}

// short are options with a lease that a test can wait for.
func short() *mcptasks.Options {
	return &mcptasks.Options{Tasks: tasks.Options{Lease: 300 * time.Millisecond}}
}
