package mcptasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

type sum struct {
	A int `json:"a"`
}

// A task ends as its call would have without the extension: the same result, byte
// for byte but for _meta, or the same error. A tool's own error is a result; failed is
// for JSON-RPC errors alone.
func TestTaskEndsAsItsCallWould(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		ready(tasks, server)
		mcptasks.AddTool(tasks, server, &mcp.Tool{Name: "typed"}, func(_ context.Context, _ *mcp.CallToolRequest, in sum) (*mcp.CallToolResult, sum, error) {
			return nil, sum{in.A + 1}, nil
		}, nil)
		add(tasks, server, "error", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return nil, nil, errors.New("no luck")
		}, nil)
		add(tasks, server, "rich", func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{
				&mcp.ImageContent{MIMEType: "image/png", Data: []byte{0, 1, 255}}, &mcp.TextContent{Text: "<&> \u2028 ä"},
			}}, map[string]any{"n": 1e21}, nil
		}, nil)
	})
	for name, c := range map[string]struct {
		tool, status string
		args         map[string]any
	}{
		"a result":            {"work", "completed", map[string]any{}},
		"structured content":  {"typed", "completed", map[string]any{"a": 41}},
		"several contents":    {"rich", "completed", map[string]any{}},
		"isError":             {"bad", "completed", map[string]any{}},
		"an error of Go":      {"error", "completed", map[string]any{}},
		"an error of JSONRPC": {"fail", "failed", map[string]any{}},
	} {
		call := map[string]any{"name": c.tool, "arguments": c.args}
		want := r.post(t, request(1, "tools/call", call, silent), nil)
		created := r.post(t, request(1, "tools/call", call, declaring), nil)
		id, _ := created.Result["taskId"].(string)
		if id == "" {
			t.Errorf("%s: no task: %s", name, created)
			continue
		}
		got := r.as("").until(id, c.status).Result
		if c.status == "failed" {
			failure, _ := got["error"].(map[string]any)
			if want.Error == nil || failure["code"] != float64(want.Error.Code) || failure["message"] != want.Error.Message ||
				!reflect.DeepEqual(failure["data"], any(want.Error.Data)) || got["result"] != nil || got["statusMessage"] == nil {
				t.Errorf("%s: the task %v\nthe call %s", name, got, want)
			}
			continue
		}
		result, _ := got["result"].(map[string]any)
		for _, r := range []map[string]any{result, want.Result} {
			delete(r, "_meta")
			delete(r, "resultType") // of the answer to tools/call, which this is not
		}
		if a, b := mustJSON(t, result), mustJSON(t, want.Result); string(a) != string(b) || got["error"] != nil {
			t.Errorf("%s: the task %s\nthe call %s", name, a, b)
		}
	}
}

// Only a CreateTaskResult says task, and only the answer of tools/call asks for input.
// Each result names its type and its server.
func TestOnlyCreateTaskResultSaysTask(t *testing.T) {
	r := start(t, memory(), nil, ready)
	id := r.as("").create("ask", nil)
	r.as("").until(id, "input_required")
	for _, c := range []struct {
		method       string
		params       map[string]any
		capabilities map[string]any
		want         string
	}{
		{"tools/call", callOf("ask"), declaring, "task"},
		{"tools/call", callOf("ask"), silent, "input_required"},
		{"tools/call", callOf("work"), silent, "complete"},
		{"tools/list", nil, declaring, "complete"},
		{"server/discover", nil, declaring, "complete"},
		{"tasks/get", map[string]any{"taskId": id}, declaring, "complete"},
		{"tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{"x": 1}}, declaring, "complete"},
		{"tasks/cancel", map[string]any{"taskId": id}, declaring, "complete"},
		{"tasks/get", map[string]any{"taskId": id}, declaring, "complete"},
	} {
		got := r.post(t, request(1, c.method, c.params, c.capabilities), nil)
		if got.Result["resultType"] != c.want {
			t.Errorf("%s: %s", c.method, got)
		}
		meta, _ := got.Result["_meta"].(map[string]any)
		if info, _ := meta["io.modelcontextprotocol/serverInfo"].(map[string]any); info["name"] != "test" {
			t.Errorf("%s does not name the server: %s", c.method, got)
		}
		if c.method == "tasks/update" || c.method == "tasks/cancel" {
			if delete(got.Result, "_meta"); len(got.Result) != 1 {
				t.Errorf("%s: an acknowledgement says more than that: %s", c.method, got)
			}
		}
	}
}

// An announced task exists for the next request, on every replica.
func TestTaskIsThereWhenItsCallIsAnswered(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		opts := func() *mcptasks.Options {
			o := fast()
			o.Tasks.MaxActive = -1
			return o
		}
		tools := func(tasks *mcptasks.Tasks, server *mcp.Server) {
			work := func(promote bool) handler {
				return func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
					if promote {
						if err := mcptasks.FromContext(ctx).Promote(ctx); err != nil {
							return nil, nil, err
						}
					}
					<-ctx.Done()
					return nil, nil, ctx.Err()
				}
			}
			add(tasks, server, "auto", work(false), nil)
			add(tasks, server, "grace", work(false), &mcptasks.ToolOptions{Grace: time.Millisecond})
			add(tasks, server, "manual", work(true), &mcptasks.ToolOptions{Mode: mcptasks.Manual})
		}
		one, two := start(t, open(), opts(), tools).as("alice"), start(t, open(), opts(), tools).as("alice")
		for range 10 {
			for _, tool := range []string{"auto", "grace", "manual"} {
				id := one.create(tool, nil)
				if got := two.get(id); got.Result["status"] != "working" {
					t.Errorf("%s: %v", tool, got)
				}
			}
		}
	})
}

// A failure of the store is an internal error: the server uses no code of its own in the
// range that the protocol keeps for itself, and announces only a task that is stored.
func TestStoreFailureIsAnInternalError(t *testing.T) {
	t.Parallel()
	store := &failing{StorageBackend: memory()}
	r := start(t, store, nil, ready)
	l := r.dial(t)
	created := l.ask(1, "tools/call", callOf("ask"), declaring)
	id := created.Result["taskId"]
	store.fail(errors.New("secret address"))
	for method, params := range map[string]map[string]any{
		"tools/call":           callOf("ask"),
		"tasks/get":            {"taskId": id},
		"tasks/update":         {"taskId": id, "inputResponses": map[string]any{"confirm": accept(nil)}},
		"tasks/cancel":         {"taskId": id},
		"subscriptions/listen": {"notifications": map[string]any{"taskIds": []any{id}}},
	} {
		got := l.ask(2, method, params, declaring)
		if got.code() != -32603 || strings.Contains(got.Raw, "secret") {
			t.Errorf("%s: %s", method, got)
		}
	}
}

// Input that is asked for before there is a task takes the rounds of tools/call;
// the task comes after the last one, with keys of its own.
func TestQuestionsBeforeTheTaskAreAskedByTheCall(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "deploy", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			task := mcptasks.FromContext(ctx)
			if task.ID() == "" && len(req.Params.InputResponses) == 0 {
				return confirm(ctx, req, in)
			}
			if task.ID() != "" { // the task has been asked
				return confirm(ctx, req, in)
			}
			if err := task.Promote(ctx); err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": elicit("really?")}}, nil, nil
		}, &mcptasks.ToolOptions{Mode: mcptasks.Manual})
	})
	first := r.post(t, request(1, "tools/call", callOf("deploy"), declaring), nil)
	if first.Result["resultType"] != "input_required" || first.Result["taskId"] != nil {
		t.Fatalf("before the task: %s", first)
	}
	call := callOf("deploy")
	call["inputResponses"] = map[string]any{"confirm": accept(nil)}
	second := r.post(t, request(2, "tools/call", call, declaring), nil)
	if second.Result["resultType"] != "task" {
		t.Fatalf("after the answer: %s", second)
	}
	c, id := r.as(""), second.Result["taskId"].(string)
	if asked := c.until(id, "input_required").Result["inputRequests"].(map[string]any); asked["confirm"] == nil || len(asked) != 1 {
		t.Errorf("in the task: %v", asked)
	}
	c.update(id, map[string]any{"confirm": map[string]any{"action": "decline"}})
	if got := textOf(c.until(id, "completed")); got != "answered: decline" {
		t.Errorf("in the end: %q", got)
	}
}

// A task's requestState stays in the server, and a client cannot set it.
func TestTaskKeepsItsRequestState(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		add(tasks, server, "ask", func(ctx context.Context, req *mcp.CallToolRequest, in none) (*mcp.CallToolResult, any, error) {
			res, out, err := confirm(ctx, req, in)
			if res.InputRequests != nil {
				res.RequestState = "the state"
			} else if req.Params.RequestState != "the state" {
				t.Errorf("the handler got the state %q", req.Params.RequestState)
			}
			return res, out, err
		}, nil)
	})
	created := r.post(t, request(1, "tools/call", callOf("ask"), declaring), nil)
	id, _ := created.Result["taskId"].(string)
	asked := r.as("").until(id, "input_required")
	update := r.post(t, request(1, "tasks/update", map[string]any{
		"taskId": id, "requestState": "forged", "inputResponses": map[string]any{"confirm": accept(nil)},
	}, declaring), nil)
	for _, raw := range []string{created.Raw, string(asked.Raw), update.Raw, string(r.as("").until(id, "completed").Raw)} {
		if strings.Contains(raw, "requestState") || strings.Contains(raw, "the state") {
			t.Errorf("the state came out: %s", raw)
		}
	}
}

// An acknowledged cancel is a request: work that ends well in spite of it has its
// result.
func TestCancelMayComeTooLateForTheWork(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := start(t, open(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
			add(tasks, server, "obstinate", func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
				<-ctx.Done()
				return text("done all the same"), nil, nil
			}, nil)
		}).as("alice")
		id := c.create("obstinate", nil)
		if got := c.cancel(id); got.Result["resultType"] != "complete" {
			t.Errorf("the acknowledgement: %v", got)
		}
		if got := textOf(c.until(id, "completed")); got != "done all the same" {
			t.Errorf("the result is %q", got)
		}
	})
}

// Params that name no task, in any way, are invalid params.
func TestTaskIDMustBeAString(t *testing.T) {
	r := start(t, memory(), nil, ready)
	l := r.dial(t)
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		for _, id := range []any{42, nil, true, []string{unknownID}, map[string]any{}, "", "x"} {
			params := map[string]any{"taskId": id, "inputResponses": map[string]any{}}
			if got := r.post(t, request(1, method, params, declaring), nil); got.code() != -32602 {
				t.Errorf("%s of %v over HTTP: %s", method, id, got)
			}
			if got := l.ask(1, method, params, declaring); got.code() != -32602 {
				t.Errorf("%s of %v: %s", method, id, got)
			}
		}
		if got := l.ask(1, method, nil, declaring); got.code() != -32602 {
			t.Errorf("%s without params: %s", method, got)
		}
	}
}

// An update needs an object of responses; the server ignores responses to questions that
// are not open.
func TestInputResponsesMustBeAnObject(t *testing.T) {
	r := start(t, memory(), nil, ready)
	id := r.as("").create("ask", nil)
	r.as("").until(id, "input_required")
	for raw, code := range map[string]int{`null`: -32602, `[]`: -32602, `"x"`: -32602, `42`: -32602, `{}`: 0, `{"x":null}`: 0} {
		params := map[string]any{"taskId": id, "inputResponses": json.RawMessage(raw)}
		if got := r.post(t, request(1, "tasks/update", params, declaring), nil); got.code() != code {
			t.Errorf("%s: %s", raw, got)
		}
	}
	if got := r.post(t, request(1, "tasks/update", map[string]any{"taskId": id}, declaring), nil); got.code() != -32602 {
		t.Errorf("none: %s", got)
	}
	if asked := r.as("").get(id).Result["inputRequests"]; asked == nil {
		t.Error("the question is gone")
	}
}

// A request without the fields that every request must have is malformed.
func TestRequestsWithoutMetaAreMalformed(t *testing.T) {
	r := start(t, memory(), nil, ready)
	id := r.as("").create("work", nil)
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		for _, lacks := range []string{"protocolVersion", "clientCapabilities"} {
			m := request(1, method, map[string]any{"taskId": id, "inputResponses": map[string]any{}}, declaring)
			delete(m["params"].(map[string]any)["_meta"].(map[string]any), "io.modelcontextprotocol/"+lacks)
			got := r.post(t, m, nil)
			if got.HTTP != http.StatusBadRequest || got.Error == nil || lacks == "clientCapabilities" && got.code() != -32602 {
				t.Errorf("%s without %s: HTTP %d %s", method, lacks, got.HTTP, got)
			}
		}
	}
}
