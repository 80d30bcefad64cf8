package taskotel

import (
	"context"
	"errors"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// kindOf returns the kind of a store's error. The text is not exported, because it may quote
// anything.
func kindOf(err error) string {
	for _, k := range []struct {
		err  error
		kind string
	}{
		{taskstore.ErrOutcomeUnknown, "outcome_unknown"}, // before its cause
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
		{taskstore.ErrVersionConflict, "version_conflict"}, // before the errors that it also matches
		{taskstore.ErrNotFound, "not_found"},
		{taskstore.ErrCapacityExceeded, "capacity_exceeded"},
		{taskstore.ErrCorrupt, "corrupt"},
		{taskstore.ErrClosed, "closed"},
		{taskstore.ErrInvalidKey, "invalid_key"},
		{taskstore.ErrInvalidCursor, "invalid_cursor"},
		{taskstore.ErrInvalidArgument, "invalid_argument"},
	} {
		if !errors.Is(err, k.err) {
			continue
		}
		if k.err == taskstore.ErrCapacityExceeded && !errors.As(err, new(*taskstore.CapacityError)) {
			return "store_full" // no limit of the caller's: the server has no room
		}
		return k.kind
	}
	return other
}

// limits are the kinds of limits.
var limits = map[tasks.Limit]string{
	tasks.LimitTasks:         "tasks",
	tasks.LimitActive:        "active_tasks",
	tasks.LimitRequest:       "request_bytes",
	tasks.LimitResult:        "result_bytes",
	tasks.LimitState:         "state_bytes",
	tasks.LimitInputRequests: "input_requests",
	tasks.LimitInputKey:      "input_key_bytes",
	tasks.LimitInputKeys:     "input_keys",
	tasks.LimitInput:         "input_bytes",
}

// reasons are the reasons for which the store, or a server, fails a task by itself.
var reasons = map[string]string{
	tasks.MessageRunnerGone:   "runner_gone",
	tasks.MessageOvertime:     "overtime",
	tasks.MessageDeadline:     "deadline",
	mcptasks.MessageAbandoned: "abandoned",
	mcptasks.MessageExhausted: "exhausted",
	mcptasks.MessageShutdown:  "shutdown",
}

// reasonOf returns the reason for the status of t, which has ended.
func reasonOf(t *tasks.Task) string {
	switch {
	case t.Status == tasks.Cancelled:
		return "requested"
	case t.Status == tasks.Completed && isToolError(t.Result):
		return toolError
	case t.Status == tasks.Completed:
		return "ok"
	case t.Error != nil && reasons[t.Error.Message] != "":
		return reasons[t.Error.Message]
	}
	return "error"
}

// toolError is the kind of a result with isError, by the conventions.
const toolError = "tool_error"

// answerKind returns the kind of error that answers a request, empty for a success, and the
// code that the client gets, if there is one.
func answerKind(res mcp.Result, err error) (kind, code string) {
	var wire *jsonrpc.Error
	result, _ := res.(*mcp.CallToolResult)
	switch {
	case err == nil && result != nil && result.IsError:
		return toolError, ""
	case err == nil:
		return "", ""
	case errors.As(err, &wire):
		code = strconv.FormatInt(wire.Code, 10)
		return code, code
	case errors.Is(err, context.Canceled):
		return "canceled", ""
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout", ""
	}
	return other, ""
}
