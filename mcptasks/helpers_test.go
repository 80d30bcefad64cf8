package mcptasks_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

const extension = "io.modelcontextprotocol/tasks"

// A replica is one server of a store, over HTTP. The bearer token names the user; a
// request without one is anonymous.
type replica struct {
	t     testing.TB
	tasks *mcptasks.Tasks
	mcp   *mcp.Server
	url   string
	http  *http.Client
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fast are options with which tests need not wait.
func fast() *mcptasks.Options {
	return &mcptasks.Options{Tasks: tasks.Options{PollInterval: 20 * time.Millisecond, Lease: 2 * time.Second}}
}

// start makes a replica with the tools that add adds. Nil opts mean fast.
func start(t testing.TB, store taskstore.StorageBackend, opts *mcptasks.Options, add func(*mcptasks.Tasks, *mcp.Server)) *replica {
	t.Helper()
	if opts == nil {
		opts = fast()
	}
	log := new(lockedBuffer)
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	tasks, server, err := assemble(store, opts, add)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(t, tasks, server)
	r.log = log
	return r
}

// serve makes a replica of a server that is there.
func serve(t testing.TB, tasks *mcptasks.Tasks, server *mcp.Server) *replica {
	web := httptest.NewServer(overHTTP(tasks, server))
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = tasks.Shutdown(ctx) // tells handlers to end
	})
	return &replica{t: t, tasks: tasks, mcp: server, url: web.URL, http: http.DefaultClient}
}

// serve has another handler serve the replica, for as long as the test runs.
func (r *replica) serve(h http.Handler) {
	r.t.Helper()
	server := httptest.NewServer(h)
	r.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.url = server.URL
}

// assemble makes a server with the tools that add adds.
func assemble(store taskstore.StorageBackend, opts *mcptasks.Options, add func(*mcptasks.Tasks, *mcp.Server)) (*mcptasks.Tasks, *mcp.Server, error) {
	tasks, err := mcptasks.New(store, opts)
	if err != nil {
		return nil, nil, err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	add(tasks, server)
	return tasks, server, tasks.Install(server)
}

// overHTTP serves server as it should be served. A bearer token is the name of a user;
// the token "nobody" names an empty one.
func overHTTP(tasks *mcptasks.Tasks, server *mcp.Server) http.Handler {
	edge := tasks.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true}))
	authorized := auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: strings.TrimPrefix(token, "nobody"), Expiration: time.Now().Add(time.Hour)}, nil
	}, nil)(edge)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") == "" {
			edge.ServeHTTP(w, req)
			return
		}
		authorized.ServeHTTP(w, req)
	})
}

// A reply is an answer as it came over the wire.
type reply struct {
	HTTP   int
	Result map[string]any `json:"result"`
	Error  *struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	} `json:"error"`
	Raw json.RawMessage // the result
}

func (r reply) String() string {
	if r.Error != nil {
		return fmt.Sprintf("HTTP %d, error %d %q", r.HTTP, r.Error.Code, r.Error.Message)
	}
	return fmt.Sprintf("HTTP %d, result %s", r.HTTP, r.Raw)
}

// A caller is a client by hand.
type caller struct {
	*replica
	user   string // bearer token; empty: the request has no token
	legacy bool   // does not declare the extension
	header http.Header
	// capabilities are those that the client declares beside the extension; nil:
	// elicitation.
	capabilities map[string]any
}

func (r *replica) as(user string) *caller { return &caller{replica: r, user: user} }

func (c *caller) request(ctx context.Context, method string, params map[string]any) *http.Request {
	c.t.Helper()
	capabilities := maps.Clone(c.capabilities)
	if capabilities == nil {
		capabilities = map[string]any{"elicitation": map[string]any{}}
	}
	if !c.legacy {
		capabilities["extensions"] = map[string]any{extension: map[string]any{}}
	}
	meta := map[string]any{}
	if more, ok := params["_meta"].(map[string]any); ok {
		meta = maps.Clone(more)
	}
	meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28"
	meta["io.modelcontextprotocol/clientInfo"] = map[string]any{"name": "test", "version": "1"}
	meta["io.modelcontextprotocol/clientCapabilities"] = capabilities
	params["_meta"] = meta
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
	req.Header.Set("Mcp-Method", method)
	for _, name := range []string{"name", "taskId"} {
		if s, ok := params[name].(string); ok {
			req.Header.Set("Mcp-Name", nameHeader(s))
		}
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	if c.user != "" {
		req.Header.Set("Authorization", "Bearer "+c.user)
	}
	return req
}

// nameHeader encodes a name that a header cannot carry as it is.
func nameHeader(s string) string {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return "=?base64?" + base64Of(s) + "?="
		}
	}
	return s
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// answer returns all that comes back of a request, but for the time of day.
func (c *caller) answer(method string, params map[string]any) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.http.Do(c.request(ctx, method, params))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	resp.Header.Del("Date")
	var all bytes.Buffer
	fmt.Fprintln(&all, resp.Status)
	_ = resp.Header.Write(&all)
	if _, err := all.ReadFrom(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return all.String()
}

func (c *caller) do(method string, params map[string]any) reply {
	c.t.Helper()
	r, _ := c.doHeader(method, params)
	return r
}

// doHeader is do, with the header of the answer.
func (c *caller) doHeader(method string, params map[string]any) (reply, http.Header) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.http.Do(c.request(ctx, method, params))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			body = []byte(data)
		}
	}
	r := reply{HTTP: resp.StatusCode}
	var raw struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		c.t.Fatalf("%s: HTTP %d %s: %v", method, resp.StatusCode, body, err)
	}
	_ = json.Unmarshal(body, &raw)
	r.Raw = raw.Result
	return r, resp.Header
}

func (c *caller) call(tool string, args map[string]any) reply {
	c.t.Helper()
	if args == nil {
		args = map[string]any{}
	}
	return c.do("tools/call", map[string]any{"name": tool, "arguments": args})
}

// create calls a tool and returns the id of the task it became.
func (c *caller) create(tool string, args map[string]any) string {
	c.t.Helper()
	r := c.call(tool, args)
	id, _ := r.Result["taskId"].(string)
	if id == "" || r.Result["resultType"] != "task" {
		c.t.Fatalf("%s did not become a task: %v", tool, r)
	}
	return id
}

func (c *caller) get(id string) reply {
	c.t.Helper()
	return c.do("tasks/get", map[string]any{"taskId": id})
}

func (c *caller) cancel(id string) reply {
	c.t.Helper()
	return c.do("tasks/cancel", map[string]any{"taskId": id})
}

func (c *caller) update(id string, responses map[string]any) reply {
	c.t.Helper()
	return c.do("tasks/update", map[string]any{"taskId": id, "inputResponses": responses})
}

// until polls until the task has the status.
func (c *caller) until(id, status string) reply {
	c.t.Helper()
	var r reply
	for range 1000 {
		if r = c.get(id); r.Result["status"] == status {
			return r
		}
		if r.Error != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("the task did not become %s: %v", status, r)
	return reply{}
}

func accept(content map[string]any) map[string]any {
	return map[string]any{"action": "accept", "content": content}
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

// textOf returns the text of the result of a completed task or of a tool.
func textOf(r reply) string {
	result := r.Result
	if inner, ok := result["result"].(map[string]any); ok {
		result = inner
	}
	content, _ := result["content"].([]any)
	if len(content) == 0 {
		return ""
	}
	s, _ := content[0].(map[string]any)["text"].(string)
	return s
}

type none struct{}

// tool makes a handler of a function.
type handler = mcp.ToolHandlerFor[none, any]

func add(tasks *mcptasks.Tasks, server *mcp.Server, name string, h handler, opts *mcptasks.ToolOptions) {
	mcptasks.AddTool(tasks, server, &mcp.Tool{Name: name, Description: name}, h, opts)
}

// noLeaks fails the test if it leaves goroutines behind, when all cleanup is done.
func noLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		var n int
		for range 200 {
			if n = runtime.NumGoroutine(); n <= before {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
	})
}

// memory is a store that leaves no sweeper running after its test.
func memory() taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) }
