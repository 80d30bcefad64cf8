package mcptasks_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// bothEras serves the replica to clients of all protocol versions.
func (r *replica) bothEras(opts *mcp.StreamableHTTPOptions) {
	r.t.Helper()
	r.serve(r.tasks.HTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, opts))
}

// session connects the SDK's client with a protocol version, prepared for tasks or
// not. asked counts the forms that it fills in.
func (r *replica) session(version string, tasks bool, asked *int) *mcp.ClientSession {
	r.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			*asked++
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"ok": true}}, nil
		},
	})
	transport := &mcp.StreamableClientTransport{Endpoint: r.url}
	if tasks {
		if err := mcptasks.InstallClient(client, nil); err != nil {
			r.t.Fatal(err)
		}
		transport.HTTPClient = &http.Client{Transport: mcptasks.RoundTripper(nil)}
	}
	session, err := client.Connect(context.Background(), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = session.Close() })
	return session
}

// One tool that asks serves the clients of either era, in the way that each has.
func TestAToolCanAskClientsOfEitherEra(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		noLeaks(t)
		created := make(chan bool, 9)
		r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
				created <- mcptasks.FromContext(ctx).ID() != ""
				return confirm(ctx, req, in)
			}, nil)
		})
		r.bothEras(&mcp.StreamableHTTPOptions{JSONResponse: asJSON, Stateless: true, SessionTimeout: time.Minute})
		for name, c := range map[string]struct {
			version string
			tasks   bool
		}{
			"2025-06-18":             {"2025-06-18", false},
			"2025-11-25":             {"2025-11-25", false},
			"2025-11-25, with tasks": {"2025-11-25", true},
			"2026-07-28":             {"2026-07-28", false},
			"2026-07-28, with tasks": {"2026-07-28", true},
		} {
			t.Run(name, func(t *testing.T) {
				asked := 0
				session := r.session(c.version, c.tasks, &asked)
				if got := session.InitializeResult().ProtocolVersion; got != c.version {
					t.Fatalf("version %s", got)
				}
				for range 2 {
					res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask"})
					if err != nil {
						t.Fatal(err)
					}
					if content, _ := res.Content[0].(*mcp.TextContent); content == nil || content.Text != "answered: accept" {
						t.Errorf("the result is %+v", res.Content[0])
					}
					for range 2 {
						if isTask := <-created; isTask != (c.tasks && c.version >= "2026-07-28") {
							t.Errorf("a task: %v", isTask)
						}
					}
				}
				if asked != 2 {
					t.Errorf("asked %d times", asked)
				}
			})
		}
		if log := r.log.String(); strings.Contains(log, "WARN") {
			t.Errorf("the log: %s", log)
		}
	}
}

// A client of the new era takes its call with it when it goes away.
func TestAClientThatGoesAwayEndsItsCall(t *testing.T) {
	noLeaks(t)
	began, ended := make(chan struct{}), make(chan struct{})
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		mcp.AddTool(server, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
			close(began)
			<-ctx.Done()
			close(ended)
			return nil, nil, ctx.Err()
		})
	})
	r.bothEras(nil)
	asked := 0
	session := r.session("2026-07-28", false, &asked)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"}); err == nil {
		t.Error("no error")
	}
	<-ended
}

// Pushes, headers and statuses are those of Handler.
func TestHTTPHandlerServesAsHandlerDoes(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	r.bothEras(nil)
	c := r.as("")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	events := c.listen(t.Context(), map[string]any{"taskIds": []string{id}})
	next(t, events)
	if e := next(t, events); e.Params["status"] != "input_required" {
		t.Errorf("the snapshot: %s", e.Raw)
	}
	c.cancel(id)
	for range events {
	}
	c.header = http.Header{"Mcp-Name": {"x"}}
	if got := c.get(id); got.HTTP != http.StatusBadRequest {
		t.Errorf("another name: %v", got)
	}
}

// The stream of a session stays open as a subscription does, and ends with the
// token that opened it.
func TestTheStreamOfASessionIsServedAsAStream(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, asking)
	r.tasks.SetKeepAlive(timeouts / 4)
	const good = 2 * timeouts
	h := r.tasks.HTTPHandler(func(*http.Request) *mcp.Server { return r.mcp }, nil)
	verify := func(context.Context, string, *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: "alice", Expiration: time.Now().Add(good)}, nil
	}
	r.impatient(auth.RequireBearerToken(verify, nil)(h))
	post := func(session, body string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
			"Authorization": {"Bearer x"}, "Mcp-Session-Id": {session},
		}
		if session == "" {
			req.Header.Del("Mcp-Session-Id")
		}
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	resp := post("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	session := resp.Header.Get("Mcp-Session-Id")
	if session == "" {
		t.Fatalf("no session: %s", resp.Status)
	}
	post(session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Accept": {"text/event-stream"}, "Authorization": {"Bearer x"}, "Mcp-Session-Id": {session}}
	opened := time.Now()
	if resp, err = r.http.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%s with %v", resp.Status, resp.Header)
	}
	comments := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), ": keep-alive") {
			comments++
		}
	}
	if lived := time.Since(opened); lines.Err() != nil || lived <= timeouts || comments < 3 {
		t.Errorf("it lived for %v, with %d comments: %v", lived, comments, lines.Err())
	}
	req, err = http.NewRequestWithContext(t.Context(), http.MethodDelete, r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer x"}, "Mcp-Session-Id": {session}}
	if resp, err = r.http.Do(req); err != nil || resp.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %v %v", resp, err)
	}
}
