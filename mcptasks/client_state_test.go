package mcptasks_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// The message that creates a task tells only of its creation, even if it has a result:
// the client takes the end from tasks/get.
func TestClientAsksForTheEnd(t *testing.T) {
	for name, message := range map[string]string{
		"completed":             `{"resultType":"task","taskId":"t1","status":"completed","pollIntervalMs":3600000}`,
		"completed, a result":   `{"resultType":"task","taskId":"t1","status":"completed","result":{"content":[{"type":"text","text":"early"}]},"pollIntervalMs":3600000}`,
		"failed":                `{"resultType":"task","taskId":"t1","status":"failed","error":{"code":1,"message":"early"},"pollIntervalMs":3600000}`,
		"cancelled":             `{"resultType":"task","taskId":"t1","status":"cancelled","pollIntervalMs":3600000}`,
		"a question":            `{"resultType":"task","taskId":"t1","status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?"}}},"pollIntervalMs":3600000}`,
		"a question that is no": `{"resultType":"task","taskId":"t1","status":"working","inputRequests":{"a":null},"pollIntervalMs":1}`,
		"content beside it":     `{"resultType":"task","taskId":"t1","status":"working","content":17,"_meta":4,"pollIntervalMs":1}`,
		"no status":             `{"resultType":"task","taskId":"t1","pollIntervalMs":1}`,
		"a strange status":      `{"resultType":"task","taskId":"t1","status":{"a":1},"statusMessage":7,"ttlMs":"x","createdAt":5,"pollIntervalMs":"1"}`,
		"an escaped type":       `{"resultType":"t\u0061sk","taskId":"t1","status":"working","pollIntervalMs":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, map[string][]string{"tools/call": {message}}, mcptasks.ClientOptions{MaxPollInterval: time.Hour}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
				if got, err := callTool(t, session); got != "done" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				if f.times("tasks/update")+f.times("tasks/cancel") != 0 || f.times("tools/call") != 1 {
					t.Errorf("sent: %v", f.sent)
				}
			})
		})
	}
}

// Hints decide how often the client asks, and only that.
func TestClientReadsHintsLeniently(t *testing.T) {
	for hint, want := range map[string]time.Duration{
		`"pollIntervalMs":7000`:                7 * time.Second,
		`"pollIntervalMs":7000.0`:              7 * time.Second,
		`"pollIntervalMs":7e3`:                 7 * time.Second,
		`"pollIntervalMs":"7000"`:              7 * time.Second,
		`"pollIntervalMs":0.01`:                50 * time.Millisecond,
		`"ttlMs":1e3`:                          time.Second,
		`"ttlMs":"never","createdAt":17`:       time.Second,
		`"pollIntervalMs":null`:                time.Second,
		`"pollIntervalMs":0`:                   time.Second,
		`"pollIntervalMs":-5`:                  time.Second,
		`"pollIntervalMs":true`:                time.Second,
		`"pollIntervalMs":{"a":[]}`:            time.Second,
		`"pollIntervalMs":"NaN"`:               time.Second,
		`"pollIntervalMs":""`:                  time.Second,
		`"pollIntervalMs":9e18`:                30 * time.Second,
		`"pollIntervalMs":9223372036854775807`: 30 * time.Second,
		`"pollIntervalMs":1e300`:               30 * time.Second,
		`"pollIntervalMs":1e400`:               30 * time.Second,
		`"statusMessage":[1]`:                  time.Second,
	} {
		t.Run(hint, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				message := `{"resultType":"task","taskId":"t1","status":"working",` + hint + `}`
				f := newFake(t, map[string][]string{"tools/call": {message}, "tasks/get": {state(`"status":"working",` + hint), done}})
				var seen []time.Time
				session := f.overConnection(mcptasks.ClientOptions{OnTask: func(context.Context, mcptasks.ClientTask) { seen = append(seen, time.Now()) }})
				if got, err := callTool(t, session); got != "done" || err != nil {
					t.Fatalf("got %q, %v", got, err)
				}
				if len(seen) != 3 || seen[1].Sub(seen[0]) != want || seen[2].Sub(seen[1]) != want {
					t.Errorf("seen at %v, not every %v", seen, want)
				}
				_ = session.Close()
			})
		})
	}
}

// The client reads a state under any label.
func TestClientReadsStates(t *testing.T) {
	for name, answer := range map[string]string{
		"as a task":         `{"resultType":"task","taskId":"t1","status":"completed","result":{"content":[{"type":"text","text":"done"}]}}`,
		"as something else": `{"resultType":"new","status":"completed","result":{"content":[{"type":"text","text":"done"}]}}`,
		"not at all":        `{"status":"completed","result":{"content":[{"type":"text","text":"done"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, map[string][]string{"tasks/get": {working, answer}}, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
				if got, err := callTool(t, session); got != "done" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			})
		})
	}
}

// The error of a failed task is read as it can be.
func TestClientReadsErrorsOfTasks(t *testing.T) {
	for failure, want := range map[string]jsonrpc.Error{
		`"error":{"code":4711,"message":"no luck"}`:     {Code: 4711, Message: "no luck"},
		`"error":{"code":4711.0,"message":"no luck"}`:   {Code: 4711, Message: "no luck"},
		`"error":{"code":"E_LUCK","message":"no luck"}`: {Code: -32603, Message: "no luck"},
		`"error":{"code":1e300}`:                        {Code: -32603, Message: "the task failed"},
		`"error":{"code":9007199254740991}`:             {Code: 1<<53 - 1, Message: "the task failed"},
		`"error":{"code":9007199254740992}`:             {Code: -32603, Message: "the task failed"},
		`"error":null`:                                  {Code: -32603, Message: "the task failed"},
		`"error":[1]`:                                   {Code: -32603, Message: "the task failed"},
		`"ttlMs":1`:                                     {Code: -32603, Message: "the task failed"},
	} {
		t.Run(failure, func(t *testing.T) {
			f := newFake(t, map[string][]string{"tasks/get": {state(`"status":"failed",` + failure)}})
			_, err := callTool(t, f.overHTTP(mcptasks.ClientOptions{}))
			if got, ok := errors.AsType[*jsonrpc.Error](err); !ok || got.Code != want.Code || got.Message != want.Message {
				t.Errorf("got %v", err)
			}
		})
	}
}

// An answer that cannot be a state, or a result, is an error that says so.
func TestClientRefusesInvalidResponses(t *testing.T) {
	for name, c := range map[string]struct {
		call, get string
		goesOn    bool
	}{
		"a task without an id":        {`{"resultType":"task","status":"working"}`, done, false},
		"an id of a wrong type":       {`{"resultType":"task","taskId":17,"status":"working"}`, done, false},
		"an unknown type":             {`{"resultType":"odd","content":[{"type":"text","text":"done"}]}`, done, false},
		"a type that is no text":      {`{"resultType":1,"content":[{"type":"text","text":"done"}]}`, done, false},
		"a null question of a call":   {`{"resultType":"input_required","inputRequests":{"a":null}}`, done, false},
		"a null state":                {created, `null`, true},
		"an array":                    {created, `[]`, true},
		"an empty state":              {created, `{}`, true},
		"a null question":             {created, state(`"status":"input_required","inputRequests":{"a":null}`), true},
		"an array of questions":       {created, state(`"status":"input_required","inputRequests":[]`), true},
		"a question that is a list":   {created, state(`"status":"input_required","inputRequests":{"a":[]}`), true},
		"a question without params":   {created, state(`"status":"input_required","inputRequests":{"a":{"method":"elicitation/create"}}`), true},
		"params that are no object":   {created, state(`"status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":[]}}`), true},
		"no result":                   {created, state(`"status":"completed"`), false},
		"a null result":               {created, state(`"status":"completed","result":null`), false},
		"a result with null for more": {created, state(`"status":"completed","result":{"content":[],"inputRequests":{"a":null}}`), false},
		"content that is no list":     {created, state(`"status":"completed","result":{"content":{}}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, map[string][]string{"tools/call": {c.call}, "tasks/get": {c.get}}, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
				got, err := callTool(t, session)
				if !errors.Is(err, mcptasks.ErrInvalidResponse) {
					t.Errorf("got %q, %v", got, err)
				}
				if (left(err) != "") != c.goesOn || f.times("tasks/cancel") != 0 {
					t.Errorf("left %q, sent %v", left(err), f.sent)
				}
			})
		})
	}
}

// The same holds for a server of an earlier protocol version. Requests to it have no
// header that names their method.
func TestClientRefusesInvalidResponsesOfEarlierServers(t *testing.T) {
	f := newFake(t, map[string][]string{
		"server/discover": {`error:{"code":-32601,"message":"unknown"}`},
		"initialize":      {`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}`},
		"tools/call":      {`{"resultType":"input_required","inputRequests":{"a":null}}`},
	})
	if got, err := callTool(t, f.overHTTP(mcptasks.ClientOptions{})); !errors.Is(err, mcptasks.ErrInvalidResponse) {
		t.Errorf("got %q, %v", got, err)
	}
}

// An error of the client's own middleware, after the server has made a task, leaves the
// task and names it.
func TestClientNamesTheTaskOfACallThatItsMiddlewareFails(t *testing.T) {
	f := newFake(t, nil)
	refused := errors.New("refused by the client")
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	client.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if method == "tools/call" {
				return nil, errors.Join(refused, err)
			}
			return res, err
		}
	})
	if err := mcptasks.InstallClient(client, nil); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: httpServer(t, f), HTTPClient: roundTripping}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	if got, err := callTool(t, session); left(err) != "t1" || !errors.Is(err, refused) {
		t.Errorf("got %q, %v", got, err)
	}
	if n := f.times("tasks/cancel"); n != 0 {
		t.Errorf("%d cancels", n)
	}
}

// Only tools/call may become a task.
func TestClientRefusesTasksInOtherPlaces(t *testing.T) {
	answers := map[string][]string{
		"prompts/get": {created}, "resources/read": {created}, "tools/list": {created}, "completion/complete": {created},
	}
	onBoth(t, answers, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
		ctx := t.Context()
		_, prompt := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "p"})
		_, resource := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: "file:///x"})
		_, list := session.ListTools(ctx, nil)
		_, complete := session.Complete(ctx, &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "p"}})
		for what, err := range map[string]error{"prompts/get": prompt, "resources/read": resource, "tools/list": list, "completion/complete": complete} {
			if !errors.Is(err, mcptasks.ErrInvalidResponse) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got, err := callTool(t, session); got != "done" || err != nil {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	})
}
