package mcptasks

import (
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A stored request names its method. Requests stored by earlier versions are tools/call;
// this version refuses a method of a later one.
func TestAStoredRequestNamesItsMethod(t *testing.T) {
	stored, err := savedRequest(&mcp.CallToolParamsRaw{
		Name: "tool", Arguments: json.RawMessage(`{"method":"x"}`), Meta: mcp.Meta{"progressToken": 1, "a/b": "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"method":"tools/call","params":{"_meta":{"a/b":"c"},"name":"tool","arguments":{"method":"x"}}}`
	if string(stored) != want {
		t.Errorf("stored %s, not %s", stored, want)
	}
	for request, ok := range map[string]bool{
		want: true,
		`{"_meta":{"a/b":"c"},"name":"tool","arguments":{"method":"x"}}`:                         true,
		`{"method":"tools/call","params":{"name":"tool","arguments":{},"later":[1]},"later":{}}`: true,
		`{"method":"prompts/get","params":{"name":"tool"}}`:                                      false,
		`{"method":"tools/call","params":{}}`:                                                    false,
		`{"method":"tools/call"}`:                                                                false,
		`{}`:                                                                                     false,
		`{"method":7,"name":"tool"}`:                                                             false,
	} {
		call, err := savedCall([]byte(request))
		if (err == nil) != ok || ok && call.Params.Name != "tool" {
			t.Errorf("%s: %v, %v", request, call, err)
		}
	}
}
