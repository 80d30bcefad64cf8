//lint:file-ignore SA1019 handlers may still ask in the ways that are deprecated

package mcptasks

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// plainKey marks, in the _meta of a stored call, that its client is a plain one.
const plainKey = "github.com/taskstore/taskstore/mcptasks/plain"

// plainRequest returns the call of a plain client as one of a client that takes questions
// in results. The handler sees it so, and the store keeps it so.
func plainRequest(call *mcp.CallToolRequest) *mcp.CallToolRequest {
	plain := cloned(call)
	params := plain.Params
	if params.Meta == nil {
		params.Meta = mcp.Meta{}
	}
	can := map[string]any{"elicitation": map[string]any{"form": map[string]any{}, "url": map[string]any{}}}
	if has := call.ClientCapabilities(); has != nil {
		if has.Sampling != nil {
			can["sampling"] = has.Sampling
		}
		if has.RootsV2 != nil {
			can["roots"] = has.RootsV2
		}
	}
	params.Meta[mcp.MetaKeyClientCapabilities] = can
	params.Meta[mcp.MetaKeyProtocolVersion] = max(call.ProtocolVersion(), firstVersion)
	if info := call.ClientInfo(); info != nil {
		params.Meta[mcp.MetaKeyClientInfo] = info
	}
	params.Meta[plainKey] = true
	return plain
}

// isPlain reports whether the call is, or was, a plain client's.
func isPlain(call *mcp.CallToolRequest) bool {
	plain, _ := call.Params.Meta[plainKey].(bool)
	return plain
}
