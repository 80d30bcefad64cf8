package mcptasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A fake is a server with answers written by hand: by method, and the last one repeats. A
// result is JSON; an answer that begins with "error:" is an error.
type fake struct {
	t       *testing.T
	answers map[string][]string
	http    func(w http.ResponseWriter, method, message string) bool // nil, or writes message otherwise

	delay map[string]time.Duration // by method, over one connection

	mu   sync.Mutex
	sent map[string][]time.Time
	last map[string]map[string]any // the params
}

const created = `{"resultType":"task","taskId":"t1","status":"working","createdAt":"","lastUpdatedAt":"","ttlMs":null,"pollIntervalMs":1}`

// silence is no answer, over one connection.
const silence = "silence"

// state returns a tasks/get result.
func state(fields string) string { return `{"resultType":"complete","taskId":"t1",` + fields + `}` }

// working is a state that is polled again at once; done one that ends.
var (
	working = state(`"status":"working","pollIntervalMs":1`)
	done    = state(`"status":"completed","result":{"content":[{"type":"text","text":"done"}]}`)
)

func newFake(t *testing.T, answers map[string][]string) *fake {
	t.Helper()
	f := &fake{t: t, answers: map[string][]string{
		"server/discover": {`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}`},
		"tools/call":      {created}, "tasks/get": {done}, "tasks/update": {`{}`}, "tasks/cancel": {`{}`},
	}, sent: make(map[string][]time.Time), last: make(map[string]map[string]any)}
	for method, list := range answers {
		f.answers[method] = list
	}
	return f
}

// answer returns the next message, or "" for silence.
func (f *fake) answer(method string, id any, params json.RawMessage) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[method] = append(f.sent[method], time.Now())
	var fields map[string]any
	_ = json.Unmarshal(params, &fields)
	f.last[method] = fields
	list := f.answers[method]
	if len(list) == 0 {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"error":{"code":-32601,"message":"unknown"}}`, id)
	}
	next := list[0]
	if len(list) > 1 {
		f.answers[method] = list[1:]
	}
	if next == silence {
		return silence
	}
	const isError = "error:"
	if len(next) > len(isError) && next[:len(isError)] == isError {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"error":%s}`, id, next[len(isError):])
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":%s}`, id, next)
}

func (f *fake) times(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent[method])
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var message struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil || message.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer := f.answer(message.Method, string(message.ID), message.Params)
	if f.http != nil && f.http(w, message.Method, answer) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(answer))
}

// overHTTP returns a session of a client over HTTP.
func (f *fake) overHTTP(opts mcptasks.ClientOptions) *mcp.ClientSession {
	f.t.Helper()
	server := httptest.NewServer(f)
	f.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return connect(f.t, &mcp.StreamableClientTransport{
		Endpoint: server.URL, HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(&http.Transport{DisableKeepAlives: true})},
	}, opts)
}

// overConnection returns a session of a client over one connection.
func (f *fake) overConnection(opts mcptasks.ClientOptions) *mcp.ClientSession {
	f.t.Helper()
	clientSide, serverSide := mcp.NewInMemoryTransports()
	conn, err := serverSide.Connect(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for {
			m, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			req, ok := m.(*jsonrpc.Request)
			if !ok || !req.IsCall() {
				continue
			}
			go func() {
				message := f.answer(req.Method, req.ID.Raw(), req.Params)
				if message == silence {
					return
				}
				time.Sleep(f.delay[req.Method])
				answer, err := jsonrpc.DecodeMessage([]byte(message))
				if err != nil {
					f.t.Error(err)
					return
				}
				_ = conn.Write(context.Background(), answer)
			}()
		}
	}()
	return connect(f.t, mcptasks.ClientTransport(clientSide), opts)
}

// onBoth runs the test over HTTP and over one connection.
func onBoth(t *testing.T, answers map[string][]string, opts mcptasks.ClientOptions, test func(*testing.T, *fake, *mcp.ClientSession)) {
	t.Helper()
	for name, session := range map[string]func(*fake, mcptasks.ClientOptions) *mcp.ClientSession{
		"http": (*fake).overHTTP, "connection": (*fake).overConnection,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, answers)
			test(t, f, session(f, opts))
		})
	}
}

// callTool calls a tool and returns the text of its result. It waits for two
// minutes, or as long as given.
func callTool(t *testing.T, session *mcp.ClientSession, patience ...time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), append(patience, 2*time.Minute)[0])
	defer cancel()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
	if err != nil {
		return "", err
	}
	if len(res.Content) == 0 {
		return "", nil
	}
	return res.Content[0].(*mcp.TextContent).Text, nil
}
