package mcptasks_test

import (
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// A missing Mcp-Name only costs a proxy its routing, which nothing here needs; one
// that names something else is refused, as is, on demand, a missing one.
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

// The header is checked where there are headers, and nowhere else.
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

// What else the protocol wants in headers the SDK demands: a client that says its
// version or method in the body alone gets nowhere, with tasks or without, so
// Handler need not look for them there.
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
