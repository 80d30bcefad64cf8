package mcptasks

import (
	"errors"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// The codes of refused calls of the three tools. They do not change.
const (
	codeNotFound    = "task_not_found"
	codeArguments   = "invalid_arguments"
	codeAnswer      = "invalid_answer"
	codeUnavailable = "unavailable"
	codeInternal    = "internal_error"
)

// A refusedCall is the structured content of a refusal. It has a code and no status, and
// a plainTask has a status and no code.
type refusedCall struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Next    string `json:"next"`
}

// refusal is the result of a call that is refused before any work.
func refusal(code, message, next string) *mcp.CallToolResult {
	return &mcp.CallToolResult{
		IsError:           true,
		Content:           []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf("This call was refused.\ncode: %s\nmessage: %s\nnext: %s", code, oneLine(message), next)}},
		StructuredContent: refusedCall{code, message, next},
	}
}

// unknownTask says the same of a task that does not exist, has expired or is another
// caller's.
func unknownTask() *mcp.CallToolResult {
	return refusal(codeNotFound, "there is no such task: the id is unknown, or the task has expired",
		"Check the id. If it is right, the task and its result are gone.")
}

// refusalOf turns an error of the store into a refusal.
func (in *installation) refusalOf(what string, err error) *mcp.CallToolResult {
	if errors.Is(err, tasks.ErrNotFound) {
		return unknownTask()
	}
	wire := in.wireError(what, err)
	_, again := retryAfterOf(wire)
	switch {
	case again:
		return refusal(codeUnavailable, wire.Message, "Make the same call again after a second.")
	case wire.Code == jsonrpc.CodeInvalidParams:
		return refusal(codeArguments, wire.Message, "Call it again with other arguments.")
	}
	return refusal(codeInternal, wire.Message, "Tell the user.")
}
