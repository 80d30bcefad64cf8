package mcptasks

import (
	"encoding/json"
	"errors"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A saved request is the stored form of one: enough to make it again, and neither token
// nor headers nor progress token. Earlier versions kept the params of a tools/call alone.
type saved struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// savedRequest returns the stored form of a call.
func savedRequest(call *mcp.CallToolParamsRaw) (json.RawMessage, error) {
	params := *call
	params.Meta = make(mcp.Meta, len(call.Meta))
	for key, value := range call.Meta {
		if key != "progressToken" {
			params.Meta[key] = value
		}
	}
	raw, err := json.Marshal(&params)
	if err != nil {
		return nil, err
	}
	return json.Marshal(saved{methodCall, raw})
}

// savedCall returns the call that savedRequest stored.
func savedCall(request json.RawMessage) (*mcp.CallToolRequest, error) {
	var s saved
	if err := json.Unmarshal(request, &s); err != nil {
		return nil, err
	}
	switch s.Method {
	case methodCall:
	case "":
		s.Params = request
	default:
		return nil, errors.New("a request that this version does not know")
	}
	params := new(mcp.CallToolParamsRaw)
	if err := json.Unmarshal(s.Params, params); err != nil {
		return nil, err
	}
	if params.Name == "" {
		return nil, errors.New("no tool")
	}
	return &mcp.CallToolRequest{Params: params}, nil
}
