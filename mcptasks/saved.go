package mcptasks

import (
	"encoding/json"
	"errors"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// savedRequest returns what the store keeps of a call: enough to make it again,
// and neither token nor headers nor progress token.
func savedRequest(call *mcp.CallToolParamsRaw) (json.RawMessage, error) {
	params := *call
	params.Meta = make(mcp.Meta, len(call.Meta))
	for key, value := range call.Meta {
		if key != "progressToken" {
			params.Meta[key] = value
		}
	}
	return json.Marshal(&params)
}

// savedCall returns the call that savedRequest stored.
func savedCall(request json.RawMessage) (*mcp.CallToolRequest, error) {
	params := new(mcp.CallToolParamsRaw)
	if err := json.Unmarshal(request, params); err != nil {
		return nil, err
	}
	if params.Name == "" {
		return nil, errors.New("no tool")
	}
	return &mcp.CallToolRequest{Params: params}, nil
}
