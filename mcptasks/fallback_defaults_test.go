package mcptasks_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An answer may leave out each field that has a default in the form's schema.
func TestAnAnswerHasTheDefaultsOfItsQuestion(t *testing.T) {
	noLeaks(t)
	m := start(t, memory(), patient(), one(func(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		if answer, ok := req.Params.InputResponses["confirm"].(*mcp.ElicitResult); ok {
			return text(marshal(t, answer.Content)), nil, nil
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"confirm": &mcp.ElicitParams{
			Mode: "form", Message: "which?",
			RequestedSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"number","default":7},"s":{"type":"string"}},"required":["s"]}`),
		}}}, nil, nil
	}, nil)).localModel(nil)
	id := handle(t, m.call("tool", nil))
	answer := func(content map[string]any) *mcp.CallToolResult {
		return m.call("task_answer", map[string]any{"id": id, "answers": map[string]any{"confirm": accept(content)}})
	}
	if res := answer(map[string]any{}); fields(res)["code"] != "invalid_answer" {
		t.Errorf("without a required field: %s", saidBy(res))
	}
	if res := answer(map[string]any{"s": "x"}); saidBy(res) != `{"n":7,"s":"x"}` {
		t.Errorf("answered: %s", saidBy(res))
	}
}
