//lint:file-ignore SA1019 handlers may still ask, and log, in the ways that are deprecated

package mcptasks

import (
	"encoding/json"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// unanswerable returns error -32021, with the capabilities that are missing, if the
// handler asks for a kind of input that the client has not declared with its call: such a
// question must not be sent (MCP 2026-07-28, multi round-trip requests). Nil: all can be
// answered. The capabilities are those of the request, which are stored with it, so a
// later call of the handler finds them too. The SDK asks a client of an older protocol,
// by the capabilities that its session has declared.
func unanswerable(call *mcp.CallToolRequest, asked mcp.InputRequestMap) *jsonrpc.Error {
	if call.ProtocolVersion() < firstVersion {
		return nil
	}
	return lacks(call.ClientCapabilities(), asked)
}

// lacks returns the error if a client that has these capabilities (nil: it has declared
// no capability) cannot be asked that.
func lacks(has *mcp.ClientCapabilities, asked mcp.InputRequestMap) *jsonrpc.Error {
	if has == nil {
		has = &mcp.ClientCapabilities{}
	}
	missing := make(map[string]map[string]struct{})
	need := func(there bool, capability, part string) {
		if there {
			return
		}
		if missing[capability] == nil {
			missing[capability] = make(map[string]struct{})
		}
		if part != "" {
			missing[capability][part] = struct{}{}
		}
	}
	for _, q := range asked {
		switch q := q.(type) {
		case *mcp.ElicitParams:
			e := has.Elicitation
			if isURL(q) {
				need(e != nil && e.URL != nil, "elicitation", "url")
			} else {
				need(e != nil && (e.Form != nil || e.URL == nil), "elicitation", "form")
			}
		case *mcp.CreateMessageWithToolsParams:
			need(has.Sampling != nil, "sampling", "")
			tools := q != nil && (len(q.Tools) > 0 || q.ToolChoice != nil)
			need(!tools || has.Sampling != nil && has.Sampling.Tools != nil, "sampling", "tools")
		case *mcp.CreateMessageParams:
			need(has.Sampling != nil, "sampling", "")
		case *mcp.ListRootsParams:
			need(has.RootsV2 != nil, "roots", "")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	data, _ := json.Marshal(map[string]any{"requiredCapabilities": missing}) // strings alone
	return &jsonrpc.Error{
		Code: mcp.CodeMissingRequiredClientCapabilities, Data: data,
		Message: "Missing required client capability: the tool asks for input that the client cannot give",
	}
}

// isURL tells the mode of an elicitation as the SDK infers it.
func isURL(q *mcp.ElicitParams) bool {
	return q != nil && (q.Mode == "url" || q.Mode == "" && (q.URL != "" || q.ElicitationID != ""))
}
