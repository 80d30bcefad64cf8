package mcptasks_test

import (
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A server accepts requests with fields that this version does not know.
// The record that it stores is read strictly, by package tasks.

// A client may give the capability any settings.
func TestAnySettingsDeclareTheCapability(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) })
	for _, settings := range []map[string]any{
		{}, {"list": true}, {"requests": map[string]any{"tools": map[string]any{"call": map[string]any{}}}, "later": []any{1, nil}},
	} {
		declared := map[string]any{"elicitation": map[string]any{}, "extensions": map[string]any{extension: settings, "another/one": "x"}}
		got := r.post(t, request(1, "tools/call", callOf("ask"), declared), nil)
		if !isTask(got.Result) {
			t.Errorf("%v: %s", settings, got)
		}
		if got := r.post(t, request(1, "tasks/get", map[string]any{"taskId": got.Result["taskId"]}, declared), nil); got.Error != nil {
			t.Errorf("%v: %s", settings, got)
		}
	}
}

func TestAServerIgnoresFieldsItDoesNotKnow(t *testing.T) {
	c := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) { add(tasks, server, "ask", confirm, nil) }).as("alice")
	with := func(params map[string]any) map[string]any {
		params["later"] = map[string]any{"a": []any{1}}
		params["_meta"] = map[string]any{"io.example/later": []any{1}}
		return params
	}
	id, _ := c.do("tools/call", with(callOf("ask"))).Result["taskId"].(string)
	if id == "" {
		t.Fatal("no task")
	}
	c.until(id, "input_required")
	answer := map[string]any{"confirm": map[string]any{"action": "accept", "content": map[string]any{}, "later": map[string]any{"a": 1}, "_meta": map[string]any{"x": 1}}}
	for _, q := range []question{
		{"tasks/get", map[string]any{"taskId": id}},
		{"tasks/update", map[string]any{"taskId": id, "inputResponses": answer}},
		{"tasks/cancel", map[string]any{"taskId": id}},
	} {
		if got := c.do(q.method, with(q.params)); got.Error != nil {
			t.Errorf("%s: %v", q.method, got)
		}
	}
	c.until(id, "completed")
	ack := next(t, c.listen(t.Context(), map[string]any{"taskIds": []string{id}, "later": map[string]any{"a": 1}}))
	if agreed, _ := ack.Params["notifications"].(map[string]any)["taskIds"].([]any); len(agreed) != 1 {
		t.Errorf("subscriptions/listen: %s", ack.Raw)
	}
}

func TestAClientIgnoresFieldsItDoesNotKnow(t *testing.T) {
	const later = `"later":{"a":[1,null]},"_meta":{"io.example/later":7},"progress":{"current":1,"total":2}`
	onBoth(t, map[string][]string{
		"server/discover": {`{"resultType":"complete","supportedVersions":["2026-07-28","2199-01-01"],"capabilities":{"tools":{},"later":{},"extensions":{"` + extension + `":{"list":true,"later":[1]}}},"serverInfo":{"name":"fake","version":"1"},` + later + `}`},
		"tools/call":      {`{"resultType":"task","taskId":"t1","status":"working","createdAt":"","lastUpdatedAt":"","ttlMs":null,"pollIntervalMs":1,` + later + `}`},
		"tasks/get": {
			state(`"status":"working","pollIntervalMs":1,` + later),
			state(`"status":"input_required","pollIntervalMs":1,"inputRequests":{"q":{"method":"elicitation/create","later":1,"params":{"message":"?","later":{},"requestedSchema":{"type":"object","properties":{}}}}},` + later),
			state(`"status":"completed","result":{"content":[{"type":"text","text":"done","later":1}],"later":1},` + later),
		},
		"tasks/update": {`{"resultType":"complete",` + later + `}`},
	}, mcptasks.ClientOptions{}, func(t *testing.T, f *fake, session *mcp.ClientSession) {
		if got, err := callTool(t, session); got != "done" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if f.times("tasks/update") != 1 {
			t.Errorf("sent %v", f.sent)
		}
	})
}
