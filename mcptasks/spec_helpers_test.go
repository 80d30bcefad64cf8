package mcptasks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A received is one JSON-RPC message as it came over the wire.
type received struct {
	HTTP   int            `json:"-"`
	ID     any            `json:"id"`
	Method string         `json:"method"`
	Params map[string]any `json:"params"`
	Result map[string]any `json:"result"`
	Error  *struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	} `json:"error"`
	Raw string `json:"-"`
}

func (m received) String() string { return m.Raw }

// code is the code of the error, or 0.
func (m received) code() int {
	if m.Error == nil {
		return 0
	}
	return m.Error.Code
}

func parse(t *testing.T, raw []byte) received {
	t.Helper()
	var m received
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	m.Raw = string(raw)
	return m
}

var (
	declaring = map[string]any{"elicitation": map[string]any{}, "extensions": map[string]any{extension: map[string]any{}}}
	silent    = map[string]any{"elicitation": map[string]any{}}
	// formerly is how clients of 2025-11-25 declared the tasks of that protocol.
	formerly = map[string]any{"elicitation": map[string]any{}, "tasks": map[string]any{
		"requests": map[string]any{"tools": map[string]any{"call": map[string]any{}}}, "cancel": map[string]any{}, "list": map[string]any{},
	}}
)

// request is a request of protocol 2026-07-28 by a client with the capabilities.
func request(id any, method string, params, capabilities map[string]any) map[string]any {
	all := map[string]any{"_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion":    "2026-07-28",
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "test", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": capabilities,
	}}
	for name, value := range params {
		all[name] = value
	}
	return map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": all}
}

// send sends a request as it is, with the headers that belong to it and with
// those of header in their place. The caller closes the body of the response.
func (r *replica) send(ctx context.Context, t *testing.T, body map[string]any, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(mustJSON(t, body)))
	if err != nil {
		t.Fatal(err)
	}
	method, _ := body["method"].(string)
	params, _ := body["params"].(map[string]any)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
	req.Header.Set("Mcp-Method", method)
	for _, name := range []string{"name", "taskId"} {
		if s, ok := params[name].(string); ok {
			req.Header.Set("Mcp-Name", nameHeader(s))
		}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Host = header.Get("Host")
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// post sends a request and returns its answer, or the body in its place.
func (r *replica) post(t *testing.T, body map[string]any, header http.Header) received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp := r.send(ctx, t, body, header)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(answer) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			answer = data
		}
	}
	if !json.Valid(answer) {
		return received{HTTP: resp.StatusCode, Raw: string(answer)}
	}
	m := parse(t, answer)
	m.HTTP = resp.StatusCode
	return m
}

// events sends a request that is answered by a stream of events, and returns a function
// that reads the next message. It fails the test if the stream is over.
func (r *replica) events(ctx context.Context, t *testing.T, body map[string]any) (next func() received, header http.Header) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	resp := r.send(ctx, t, body, nil)
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
	})
	lines := bufio.NewReader(resp.Body)
	return func() received {
		t.Helper()
		timer := time.AfterFunc(20*time.Second, cancel)
		defer timer.Stop()
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatalf("the stream has ended: %v", err)
			}
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				return parse(t, data)
			}
		}
	}, resp.Header
}

// A line is a connection by hand on which all messages follow one another, as on
// stdio.
type line struct {
	t    *testing.T
	conn mcp.Connection
}

func (r *replica) dial(t *testing.T) *line {
	t.Helper()
	return dialThrough(t, r.mcp, r.tasks.Transport)
}

// dialThrough returns a connection by hand to a server; through wraps the server's side
// of the transport.
func dialThrough(t *testing.T, server *mcp.Server, through func(mcp.Transport) mcp.Transport) *line {
	t.Helper()
	clientSide, serverSide := mcp.NewInMemoryTransports()
	session, err := server.Connect(t.Context(), through(serverSide), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clientSide.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = session.Close()
	})
	return &line{t, conn}
}

func (l *line) send(body map[string]any) {
	l.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		l.t.Fatal(err)
	}
	m, err := jsonrpc.DecodeMessage(raw)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.conn.Write(l.t.Context(), m); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) next() received {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	m, err := l.conn.Read(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	raw, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		l.t.Fatal(err)
	}
	return parse(l.t, raw)
}

// ask sends a request and returns the next message, which must be its answer.
func (l *line) ask(id any, method string, params, capabilities map[string]any) received {
	l.t.Helper()
	l.send(request(id, method, params, capabilities))
	m := l.next()
	if a, _ := json.Marshal(m.ID); string(a) != string(mustJSON(l.t, id)) {
		l.t.Fatalf("%s: not the answer: %s", method, m)
	}
	return m
}

func mustJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
