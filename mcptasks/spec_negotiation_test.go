package mcptasks_test

import (
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

func callOf(tool string) map[string]any {
	return map[string]any{"name": tool, "arguments": map[string]any{}}
}

// ready has the tools of [statusTools], with their work done.
func ready(tasks *mcptasks.Tasks, server *mcp.Server) {
	release := make(chan struct{})
	close(release)
	statusTools(release)(tasks, server)
}

// isTask reports whether a task came in the place of a result.
func isTask(result map[string]any) bool {
	return result["resultType"] == "task" || result["taskId"] != nil
}

// A client that has declared the extension before, on the same connection too, and
// does not on this request gets no task by it.
func TestCapabilityCountsForItsRequestOnly(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, ready)
	l := r.dial(t)
	for name, ask := range map[string]func(method string, params, capabilities map[string]any) received{
		"http": func(method string, params, capabilities map[string]any) received {
			return r.post(t, request(1, method, params, capabilities), nil)
		},
		"connection": func(method string, params, capabilities map[string]any) received {
			return l.ask(1, method, params, capabilities)
		},
	} {
		for range 2 {
			got := ask("tools/call", callOf("work"), declaring)
			if !isTask(got.Result) {
				t.Errorf("%s: the capability is declared: %s", name, got)
			}
			id := got.Result["taskId"]
			if got := ask("tools/call", callOf("work"), silent); isTask(got.Result) || got.Result["content"] == nil {
				t.Errorf("%s: the capability is not declared: %s", name, got)
			}
			for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
				params := map[string]any{"taskId": id, "inputResponses": map[string]any{}}
				if got := ask(method, params, silent); got.code() != -32021 {
					t.Errorf("%s: %s without the capability: %s", name, method, got)
				}
				if got := ask(method, params, declaring); got.Error != nil {
					t.Errorf("%s: %s with the capability: %s", name, method, got)
				}
			}
		}
	}
}

// The error names the missing capability, and HTTP says that the request is bad.
func TestMissingCapabilityIsABadRequestThatSaysWhichOne(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		ready(tasks, server)
		add(tasks, server, "strict", confirm, &mcptasks.ToolOptions{Required: true})
	})
	created := r.post(t, request(1, "tools/call", callOf("work"), declaring), nil)
	id, _ := created.Result["taskId"].(string)
	for method, params := range map[string]map[string]any{
		"tools/call":           callOf("strict"),
		"tasks/get":            {"taskId": id},
		"tasks/update":         {"taskId": id, "inputResponses": map[string]any{}},
		"tasks/cancel":         {"taskId": id},
		"subscriptions/listen": {"notifications": map[string]any{"taskIds": []string{id}}},
	} {
		got := r.post(t, request(1, method, params, silent), nil)
		if got.HTTP != http.StatusBadRequest || got.code() != -32021 {
			t.Errorf("%s: HTTP %d, %s", method, got.HTTP, got)
			continue
		}
		if data := string(mustJSON(t, got.Error.Data)); data != `{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}` {
			t.Errorf("%s: data is %s", method, data)
		}
	}
}

// The server ignores the capability tasks of 2025-11-25.
func TestFormerCapabilityIsIgnored(t *testing.T) {
	r := start(t, memory(), nil, ready)
	call := callOf("work")
	call["task"] = map[string]any{"ttl": 60000}
	if got := r.post(t, request(1, "tools/call", call, formerly), nil); isTask(got.Result) || got.Result["content"] == nil {
		t.Errorf("tools/call: %s", got)
	}
	if got := r.post(t, request(1, "tasks/get", map[string]any{"taskId": unknownID}, formerly), nil); got.code() != -32021 {
		t.Errorf("tasks/get: %s", got)
	}
}

// The server ignores the task parameter of 2025-11-25.
func TestTaskParameterIsIgnored(t *testing.T) {
	r := start(t, memory(), nil, ready)
	for _, param := range []any{map[string]any{"ttl": 1234, "pollInterval": 1}, map[string]any{}, nil, "x"} {
		call := callOf("work")
		call["task"] = param
		if got := r.post(t, request(1, "tools/call", call, silent), nil); isTask(got.Result) || got.Result["content"] == nil {
			t.Errorf("%v, without the capability: %s", param, got)
		}
		if got := r.post(t, request(1, "tools/call", call, declaring), nil); !isTask(got.Result) ||
			got.Result["ttlMs"] != 3600000.0 || got.Result["pollIntervalMs"] != 20.0 {
			t.Errorf("%v, with the capability: %s", param, got)
		}
	}
}

// The extension belongs to 2026-07-28: over an older protocol a call makes no task, and
// the methods do not exist.
func TestOlderProtocolsHaveNoTasks(t *testing.T) {
	noLeaks(t)
	r := start(t, memory(), nil, ready)
	id := r.as("").create("work", nil)
	old := func(id any, method string, params map[string]any) map[string]any {
		m := request(id, method, params, declaring)
		m["params"].(map[string]any)["_meta"].(map[string]any)["io.modelcontextprotocol/protocolVersion"] = "2025-11-25"
		return m
	}
	l := r.dial(t)
	l.send(old(1, "initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": declaring, "clientInfo": map[string]any{"name": "test", "version": "1"},
	}))
	l.next()
	l.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	for name, ask := range map[string]func(method string, params map[string]any) received{
		"http": func(method string, params map[string]any) received {
			return r.post(t, old(2, method, params), http.Header{"Mcp-Protocol-Version": {"2025-11-25"}})
		},
		"connection": func(method string, params map[string]any) received {
			l.send(old(2, method, params))
			return l.next()
		},
	} {
		if got := ask("tools/call", callOf("work")); isTask(got.Result) || got.Result["content"] == nil {
			t.Errorf("%s: tools/call: %s", name, got)
		}
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			if got := ask(method, map[string]any{"taskId": id, "inputResponses": map[string]any{}}); got.code() != -32601 {
				t.Errorf("%s: %s: %s", name, method, got)
			}
		}
	}
}

// The server does not advertise or serve the parts of 2025-11-25 that the extension dropped.
func TestFormerTasksAreGone(t *testing.T) {
	r := start(t, memory(), nil, ready)
	discovered := r.post(t, request(1, "server/discover", nil, declaring), nil)
	capabilities, _ := discovered.Result["capabilities"].(map[string]any)
	if capabilities["extensions"] == nil || capabilities["tasks"] != nil {
		t.Errorf("server/discover: %s", discovered)
	}
	listed := r.post(t, request(1, "tools/list", nil, declaring), nil)
	tools, _ := listed.Result["tools"].([]any)
	if len(tools) == 0 {
		t.Errorf("tools/list: %s", listed)
	}
	for _, tool := range tools {
		if tool.(map[string]any)["execution"] != nil {
			t.Errorf("a tool says when it makes tasks: %v", tool)
		}
	}
	for _, method := range []string{"tasks/result", "tasks/list"} {
		for _, capabilities := range []map[string]any{declaring, silent, formerly} {
			got := r.post(t, request(1, method, map[string]any{"taskId": unknownID}, capabilities), nil)
			if got.HTTP != http.StatusNotFound || got.code() != -32601 {
				t.Errorf("%s: HTTP %d, %s", method, got.HTTP, got)
			}
		}
	}
}
