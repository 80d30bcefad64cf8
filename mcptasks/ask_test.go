//lint:file-ignore SA1019 handlers may still ask, and log, in the ways that are deprecated

package mcptasks_test

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// kinds are questions of each kind.
var kinds = map[string]mcp.InputRequest{
	"form":          elicit("sure?"),
	"a form by far": &mcp.ElicitParams{Message: "sure?"},
	"url":           &mcp.ElicitParams{Mode: "url", Message: "go there", URL: "https://example.com", ElicitationID: "1"},
	"a url by far":  &mcp.ElicitParams{Message: "go there", URL: "https://example.com"},
	"a url by id":   &mcp.ElicitParams{Message: "go there", ElicitationID: "1"},
	"sampling":      &mcp.CreateMessageParams{MaxTokens: 1, Messages: []*mcp.SamplingMessage{}},
	"no tools":      &mcp.CreateMessageWithToolsParams{MaxTokens: 1, Messages: []*mcp.SamplingMessageV2{}},
	"tools": &mcp.CreateMessageWithToolsParams{MaxTokens: 1, Messages: []*mcp.SamplingMessageV2{},
		Tools: []*mcp.Tool{{Name: "x", InputSchema: map[string]any{"type": "object"}}}},
	"a choice": &mcp.CreateMessageWithToolsParams{MaxTokens: 1, Messages: []*mcp.SamplingMessageV2{}, ToolChoice: &mcp.ToolChoice{Mode: "none"}},
	"roots":    &mcp.ListRootsParams{},
}

type kindsInput struct {
	First []string `json:"first"`
	Then  []string `json:"then,omitempty"`
}

// askKinds asks questions of these kinds, then of those.
func askKinds(_ context.Context, req *mcp.CallToolRequest, in kindsInput) (*mcp.CallToolResult, any, error) {
	asked := in.First
	if len(req.Params.InputResponses) > 0 {
		asked = in.Then
	}
	requests := mcp.InputRequestMap{}
	for _, kind := range asked {
		requests[kind] = kinds[kind]
	}
	if len(requests) == 0 {
		return text("done"), nil, nil
	}
	return &mcp.CallToolResult{InputRequests: requests}, nil, nil
}

func kindTools(t *mcptasks.Tasks, server *mcp.Server) {
	for name, opts := range map[string]*mcptasks.ToolOptions{
		"task": nil, "grace": {Grace: time.Minute}, "manual": {Mode: mcptasks.Manual},
	} {
		mcptasks.AddTool(t, server, &mcp.Tool{Name: name}, askKinds, opts)
	}
}

func object(s string) (o map[string]any) {
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		panic(err)
	}
	return o
}

// The server asks a client only for input that the client has declared. A call that asks
// for more fails at once, as a task and without one, and its error names the missing
// capabilities.
func TestOnlyDeclaredQuestionsAreAsked(t *testing.T) {
	r := start(t, memory(), nil, kindTools)
	for _, c := range []struct {
		declared string
		asks     []string
		missing  string // empty: it is asked
	}{
		{`{}`, []string{"form"}, `{"elicitation":{"form":{}}}`},
		{`{"elicitation":{}}`, []string{"form", "a form by far"}, ``},
		{`{"elicitation":{"form":{}}}`, []string{"form"}, ``},
		{`{"elicitation":{"url":{}}}`, []string{"form"}, `{"elicitation":{"form":{}}}`},
		{`{"elicitation":{"url":{}}}`, []string{"a form by far"}, `{"elicitation":{"form":{}}}`},
		{`{"elicitation":{"url":{}}}`, []string{"url", "a url by far", "a url by id"}, ``},
		{`{"elicitation":{}}`, []string{"url"}, `{"elicitation":{"url":{}}}`},
		{`{"elicitation":{"form":{}}}`, []string{"a url by far"}, `{"elicitation":{"url":{}}}`},
		{`{"elicitation":{"form":{}}}`, []string{"a url by id"}, `{"elicitation":{"url":{}}}`},
		{`{"elicitation":{"form":{},"url":{}}}`, []string{"form", "url"}, ``},
		{`{"elicitation":{}}`, []string{"sampling"}, `{"sampling":{}}`},
		{`{"elicitation":{}}`, []string{"no tools"}, `{"sampling":{}}`},
		{`{"elicitation":{}}`, []string{"tools"}, `{"sampling":{"tools":{}}}`},
		{`{"sampling":{}}`, []string{"sampling", "no tools"}, ``},
		{`{"sampling":{}}`, []string{"tools"}, `{"sampling":{"tools":{}}}`},
		{`{"sampling":{}}`, []string{"a choice"}, `{"sampling":{"tools":{}}}`},
		{`{"sampling":{"tools":{}}}`, []string{"sampling", "tools", "a choice"}, ``},
		{`{"sampling":{}}`, []string{"roots"}, `{"roots":{}}`},
		{`{"roots":{}}`, []string{"roots"}, ``},
		{`{"roots":{}}`, []string{"form", "url", "tools", "roots"}, `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}}}`},
	} {
		client := r.as("alice")
		client.capabilities = object(c.declared)
		synchronous := map[string]reply{"grace": client.call("grace", map[string]any{"first": c.asks}), "manual": client.call("manual", map[string]any{"first": c.asks})}
		id := client.create("task", map[string]any{"first": c.asks})
		client.legacy = true
		synchronous["legacy"] = client.call("task", map[string]any{"first": c.asks})
		client.legacy = false
		if c.missing == "" {
			if asked, _ := client.until(id, "input_required").Result["inputRequests"].(map[string]any); len(asked) != len(c.asks) {
				t.Errorf("%s, %v as a task: %v", c.declared, c.asks, asked)
			}
			for name, got := range synchronous {
				if asked, _ := got.Result["inputRequests"].(map[string]any); len(asked) != len(c.asks) {
					t.Errorf("%s, %v, %s: %v", c.declared, c.asks, name, got)
				}
			}
			continue
		}
		want := map[string]any{"requiredCapabilities": object(c.missing)}
		failed := client.until(id, "failed")
		validate(t, "GetTaskResult", failed.Raw)
		failure, _ := failed.Result["error"].(map[string]any)
		if failure["code"] != float64(-32021) || !reflect.DeepEqual(failure["data"], want) || failed.Result["inputRequests"] != nil {
			t.Errorf("%s, %v as a task: %v", c.declared, c.asks, failed)
		}
		for name, got := range synchronous {
			if got.Error == nil || got.Error.Code != -32021 || !reflect.DeepEqual(got.Error.Data, want) {
				t.Errorf("%s, %v, %s: %v", c.declared, c.asks, name, got)
			}
		}
	}
}

// The capabilities that the client declares with its call hold for later questions as
// well, on any replica. Those that it declares with its answers do not count.
func TestLaterQuestionsNeedTheCapabilitiesOfTheCall(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		one, two := start(t, open(), nil, kindTools).as("alice"), start(t, open(), nil, kindTools).as("alice")
		two.capabilities = object(`{"elicitation":{"form":{},"url":{}}}`)
		answered := func(then string) (id string) {
			id = one.create("task", map[string]any{"first": []string{"form"}, "then": []string{then}})
			asked, _ := one.until(id, "input_required").Result["inputRequests"].(map[string]any)
			for key := range asked {
				two.update(id, map[string]any{key: accept(nil)})
			}
			return id
		}
		if failure, _ := one.until(answered("url"), "failed").Result["error"].(map[string]any); failure["code"] != float64(-32021) {
			t.Errorf("a later question that was not declared: %v", failure)
		}
		id := answered("a form by far")
		for range 1000 {
			if asked, _ := one.until(id, "input_required").Result["inputRequests"].(map[string]any); asked["a form by far"] != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("a later question that was declared is not asked")
	})
}

// A question that is nil fails its task and leaves everything else alone.
func TestNilQuestion(t *testing.T) {
	c := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		for name, q := range map[string]mcp.InputRequest{"nil": nil, "elicitation": (*mcp.ElicitParams)(nil), "sampling": (*mcp.CreateMessageWithToolsParams)(nil)} {
			add(tasks, server, name, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": q}}, nil, nil
			}, nil)
		}
	}).as("alice")
	c.capabilities = object(`{"elicitation":{},"sampling":{}}`)
	c.until(c.create("nil", nil), "failed")
	c.capabilities = object(`{}`)
	c.until(c.create("elicitation", nil), "failed")
	c.until(c.create("sampling", nil), "failed")
}
