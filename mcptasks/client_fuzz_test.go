package mcptasks_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// FuzzClient has a server answer one method with arbitrary bytes, for ever: the client
// does not panic, ends with its ctx, and leaves no goroutine behind.
func FuzzClient(f *testing.F) {
	const question = `{"method":"elicitation/create","params":{"message":"?"}}`
	for _, answer := range []string{
		`null`, `[]`, `{}`, `17`, `"x"`, ``, `{`, strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat(`}`, 2000),
		strings.Repeat(`[`, 20000), created, done, working, state(asking1),
		`{"resultType":"task","taskId":null}`, `{"resultType":"task","taskId":["t1"],"status":[]}`,
		`{"resultType":"input_required","inputRequests":{"a":null}}`,
		`{"resultType":"input_required","inputRequests":{"a":` + question + `}}`,
		`{"resultType":"input_required","inputRequests":{}}`, `{"resultType":"input_required","inputRequests":null}`,
		state(`"status":"input_required","inputRequests":{"a":null}`),
		state(`"status":"input_required","inputRequests":{"a":` + question + `,"b":[],"":{}}`),
		state(`"status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":null}}`),
		state(`"status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"requestedSchema":{"type":"object","properties":{"a":null,"b":{"enum":[null],"items":null,"type":"array"}}}}}}`),
		state(`"status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"requestedSchema":{"$ref":"#","allOf":[null]}}}}`),
		state(`"status":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{"messages":[null]}}}`),
		state(`"status":"input_required","inputRequests":{"a":{"method":"roots/list"}}`),
		state(`"status":"completed","result":{"content":[null]}`), state(`"status":"completed","result":{"content":[{"type":"resource","resource":null}],"inputRequests":{"a":null}}`),
		state(`"status":"failed","error":{"code":1e999,"message":null,"data":null}`),
		`error:null`, `error:{}`, `error:{"code":-32602}`, `error:{"code":-32603,"data":{"retryable":true,"retryAfterMs":1e300}}`, `error:{"code":-32042,"data":{"elicitations":[null]}}`,
		"data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":3,\"result\":" + created + "}\n\n", "data\n\n", ": \n\n", "id: 1\nretry: 99999999999999999999\n\n", "event: x\ndata:\r\r\n\n",
		`{"jsonrpc":"2.0","id":3,"result":` + created + `}`, `{"jsonrpc":"2.0","id":3}`, `{"jsonrpc":"2.0","id":3,"method":null,"result":{}}`,
		`{"jsonrpc":"2.0","id":{},"result":{}}`, `[{"jsonrpc":"2.0","id":3,"result":{}}]`,
	} {
		for method := range fuzzed {
			for form := range uint8(3) {
				f.Add(uint8(method), form, 200, answer)
			}
		}
		f.Add(uint8(1), uint8(2), 503, answer)
	}
	f.Fuzz(func(t *testing.T, method, form uint8, status int, answer string) {
		synctest.Test(t, func(t *testing.T) {
			name := fuzzed[int(method)%len(fuzzed)]
			server := newFake(t, map[string][]string{"tasks/get": {working, state(asking1), working, done}, name: {answer}})
			opts := mcptasks.ClientOptions{MinPollInterval: 5 * time.Minute, MaxPollInterval: 5 * time.Minute}
			var session *mcp.ClientSession
			if form %= 3; form == 0 {
				whole := `{"jsonrpc":"2.0","id":1,"result":` + answer + `}`
				if rest, ok := strings.CutPrefix(answer, "error:"); ok {
					whole = `{"jsonrpc":"2.0","id":1,"error":` + rest + `}`
				}
				if _, err := jsonrpc.DecodeMessage([]byte(whole)); err != nil {
					t.Skip("the transport of the test cannot send that")
				}
				session = server.overConnection(opts)
			} else {
				server.http = func(w http.ResponseWriter, asked, message string) bool {
					if asked != name {
						return false
					}
					w.Header().Set("Content-Type", []string{"", "application/json", "text/event-stream"}[form])
					w.WriteHeader(min(max(status, 200), 599))
					switch {
					case !strings.HasPrefix(answer, "{") || strings.Contains(answer, "jsonrpc"):
						message = answer // as it is
					case form == 2:
						message = "data: " + message + "\n\n"
					}
					_, _ = w.Write([]byte(message))
					return true
				}
				session = server.inBubble(opts)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			begin := time.Now()
			_, _ = session.CallTool(ctx, &mcp.CallToolParams{Name: "tool"})
			_, _ = session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "p"})
			_, _ = mcptasks.GetTask(ctx, session, "t1")
			_ = mcptasks.AnswerTask(ctx, session, "t1", map[string]any{"a": 1})
			_ = mcptasks.CancelTask(ctx, session, "t1")
			if took := time.Since(begin); took > time.Hour+time.Minute {
				t.Errorf("it took %v", took)
			}
			_ = session.Close()
			cancel()
			time.Sleep(time.Hour) // a goroutine that is left then fails the test
		})
	})
}

var fuzzed = []string{"tools/call", "tasks/get", "tasks/update", "tasks/cancel", "prompts/get"}
