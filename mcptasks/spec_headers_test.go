package mcptasks_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// encoded is a header value in the protocol's other form.
func encoded(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// Mcp-Name names the task: as it is or encoded, but no other one, in no other case,
// and not in a form that cannot be decoded.
func TestNameHeaderIsDecodedBeforeItIsCompared(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("").create("ask", nil)
	for name, right := range map[string]bool{
		id: true, encoded(id): true,
		"another": false, strings.ToUpper(id): false, id + "x": false, id[1:]: false, "ask": false,
		encoded("another"): false, encoded(id + " "): false, encoded(encoded(id)): false,
		"=?base64?%%%?=": false, "=?base64?" + id + "?=": false, "=?base64??=": false, "=?BASE64?" + encoded(id)[9:]: false, encoded(id)[:20]: false,
	} {
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			m := request("the id", method, map[string]any{"taskId": id, "inputResponses": map[string]any{}}, declaring)
			got := r.post(t, m, http.Header{"Mcp-Name": {name}})
			if right && (got.HTTP != http.StatusOK || got.Error != nil) {
				t.Errorf("%s with %q: HTTP %d, %s", method, name, got.HTTP, got)
			}
			if !right && (got.HTTP != http.StatusBadRequest || got.code() != -32020) {
				t.Errorf("%s with %q: HTTP %d, %s", method, name, got.HTTP, got)
			}
			if got.ID != "the id" {
				t.Errorf("%s with %q: an answer to somebody else: %s", method, name, got)
			}
		}
	}
}

// The other headers have to match in requests about tasks too. A header that would lead a
// request past the shim gets it refused.
func TestOtherHeadersMustMatchToo(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("").create("ask", nil)
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel", "subscriptions/listen"} {
		params := map[string]any{"taskId": id, "inputResponses": map[string]any{}}
		if method == "subscriptions/listen" {
			params = map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}
		}
		for name, header := range map[string]http.Header{
			"another method":      {"Mcp-Method": {"tools/list"}},
			"another task method": {"Mcp-Method": {map[bool]string{true: "tasks/cancel", false: "tasks/get"}[method == "tasks/get"]}},
			"another case":        {"Mcp-Method": {strings.ToUpper(method)}},
			"no method":           {"Mcp-Method": nil},
			"another version":     {"Mcp-Protocol-Version": {"2025-11-25"}},
			"an unknown version":  {"Mcp-Protocol-Version": {"2999-01-01"}},
		} {
			got := r.post(t, request(1, method, params, declaring), header)
			if got.HTTP != http.StatusBadRequest || got.Result != nil || got.Error != nil && got.code() != -32020 && got.code() != -32022 {
				t.Errorf("%s, %s: HTTP %d, %s", method, name, got.HTTP, got)
			}
		}
	}
	if got := r.as("").get(id); got.Result["status"] != "input_required" {
		t.Errorf("the task: %v", got)
	}
}

// A refusal carries the id of its request, for every form of id.
func TestRefusalsCarryTheRequestID(t *testing.T) {
	r := start(t, memory(), nil, asking)
	for _, id := range []any{0.0, -1.0, 9007199254740991.0, "", "a", `"<&>\`, "ä\u2028"} {
		for name, got := range map[string]received{
			"a header":     r.post(t, request(id, "tasks/get", map[string]any{"taskId": unknownID}, declaring), http.Header{"Mcp-Name": {"x"}}),
			"a capability": r.post(t, request(id, "tasks/get", map[string]any{"taskId": unknownID}, silent), nil),
			"a task":       r.post(t, request(id, "tasks/get", map[string]any{"taskId": unknownID}, declaring), nil),
			"a listen": r.post(t, request(id, "subscriptions/listen", map[string]any{
				"notifications": map[string]any{"taskIds": 42}}, declaring), nil),
		} {
			if got.Error == nil || got.ID != id {
				t.Errorf("refused for %s, id %q: %s", name, id, got)
			}
		}
	}
}

// The shim refuses a foreign Host header, as the SDK does.
func TestEdgeLetsNoForeignHostIn(t *testing.T) {
	r := start(t, memory(), nil, asking)
	id := r.as("").create("ask", nil)
	for _, method := range []string{"tools/list", "tasks/get", "tasks/cancel", "subscriptions/listen"} {
		params := map[string]any{"taskId": id, "notifications": map[string]any{"taskIds": []string{id}}}
		got := r.post(t, request(1, method, params, declaring), http.Header{"Host": {"evil.example"}})
		if got.HTTP != http.StatusForbidden || got.Result != nil {
			t.Errorf("%s: HTTP %d, %s", method, got.HTTP, got)
		}
	}
}
