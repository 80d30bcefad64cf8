package mcptasks_test

import (
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A missing Mcp-Name costs only a proxy its routing, so the server refuses it only with
// RequireNameHeader. It always refuses one that names something else.
func TestNameHeader(t *testing.T) {
	for _, required := range []bool{false, true} {
		opts := fast()
		opts.RequireNameHeader = required
		r := start(t, memory(), opts, asking)
		id := r.as("alice").create("ask", nil)
		r.as("alice").until(id, "input_required")
		for name, c := range map[string]struct {
			header  []string
			refused bool
		}{
			"missing":           {nil, required},
			"empty":             {[]string{""}, required},
			"right":             {[]string{id}, false},
			"right, encoded":    {[]string{"=?base64?" + base64Of(id) + "?="}, false},
			"another":           {[]string{"x"}, true},
			"another case":      {[]string{id[:35] + "X"}, true},
			"another, encoded":  {[]string{"=?base64?" + base64Of("x") + "?="}, true},
			"damaged":           {[]string{"=?base64?*?="}, true},
			"right and another": {[]string{id, "x"}, true},
			"empty and a name":  {[]string{"", "x"}, true},
			"nothing, encoded":  {[]string{"=?base64??="}, true},
		} {
			caller := r.as("alice")
			caller.header = http.Header{"Mcp-Name": c.header}
			for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
				got := caller.do(method, map[string]any{"taskId": id, "inputResponses": map[string]any{}})
				switch {
				case !c.refused && (got.HTTP != http.StatusOK || got.Error != nil):
					t.Errorf("required %v: %s with Mcp-Name %s: %v", required, method, name, got)
				case c.refused && (got.HTTP != http.StatusBadRequest || got.Error == nil || got.Error.Code != -32020):
					t.Errorf("required %v: %s with Mcp-Name %s: %v", required, method, name, got)
				}
			}
		}
	}
}

// The server checks the header over HTTP only; a stream has no headers.
func TestNoNameHeaderOverAStream(t *testing.T) {
	opts := fast()
	opts.RequireNameHeader = true
	r := start(t, memory(), opts, asking)
	c := r.as("")
	id := c.create("ask", nil)
	s := r.stream()
	s.request(c, 1, "tasks/get", map[string]any{"taskId": id})
	if e := s.next(); e.Result == nil {
		t.Errorf("tasks/get: %s", e.Raw)
	}
}

// The SDK demands the protocol's other headers: it refuses a client that puts its version
// or method into the body alone, with tasks or without, so Handler need not look for them.
func TestTheSDKDemandsTheOtherHeaders(t *testing.T) {
	r := start(t, memory(), nil, func(tasks *mcptasks.Tasks, server *mcp.Server) {
		asking(tasks, server)
		mcp.AddTool(server, &mcp.Tool{Name: "plain"}, confirm)
	})
	id := r.as("").create("ask", nil)
	for _, missing := range []string{"Mcp-Protocol-Version", "Mcp-Method"} {
		c := r.as("")
		c.header = http.Header{missing: nil}
		for _, q := range append(aboutTask(id), question{"tools/call", map[string]any{"name": "plain", "arguments": map[string]any{}}}) {
			if got := c.do(q.method, q.params); got.HTTP != http.StatusBadRequest || got.Error == nil || got.Error.Code != -32020 {
				t.Errorf("%s without %s: %v", q.method, missing, got)
			}
		}
	}
}
