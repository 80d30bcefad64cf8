package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

var (
	// ErrAnonymous is returned by [Options.Owner] for a request of an anonymous caller.
	ErrAnonymous = errors.New("mcptasks: anonymous request")
	// ErrCancelled is the cause of a handler's ctx after tasks/cancel. A client's
	// CallTool returns it for a task that was cancelled.
	ErrCancelled = errors.New("mcptasks: task cancelled")
	// ErrLost is the cause of a handler's ctx when another replica has taken the task, or
	// the task has expired: the server drops the handler's result.
	ErrLost = errors.New("mcptasks: task lost")
	// ErrExpired is the cause of a handler's ctx when its task has run for as long as
	// MaxTTL in [Options].Tasks allows, and has failed for that.
	ErrExpired = errors.New("mcptasks: the task ran for as long as it may")
	// ErrShutdown is the cause of a handler's ctx when the server shuts down.
	ErrShutdown = errors.New("mcptasks: the server is shutting down")
	// ErrAnswered says that the call was answered without a task already.
	ErrAnswered = errors.New("mcptasks: the call has been answered")
	// ErrSynchronous says that the call can only be answered synchronously, since its
	// client has neither the extension nor a fallback.
	ErrSynchronous = errors.New("mcptasks: the call cannot become a task: its client has neither the extension nor a fallback")
	// ErrNotFound is a client's error for a task that its server does not know, or not
	// any more: the id is wrong, another user's, or the task has expired.
	ErrNotFound = errors.New("mcptasks: the task is unknown or has expired")
	// ErrUnavailable is a client's error when it could not reach its server, or the
	// server refused for the time being, for all of [ClientOptions].RetryFor.
	ErrUnavailable = errors.New("mcptasks: the server is unavailable")
	// ErrInvalidResponse is a client's error for an answer that the protocol does not
	// allow there.
	ErrInvalidResponse = errors.New("mcptasks: invalid response")
	// ErrQuestionClosed is the cause of the ctx of a client's handler once its answer is
	// no longer wanted: the question was answered elsewhere, or the task has ended, or
	// CallTool has returned. For a task that was cancelled it is ErrCancelled.
	ErrQuestionClosed = errors.New("mcptasks: the question is no longer open")
)

// Every error that leaves the middleware is a *jsonrpc.Error: the SDK sends any
// other with code 0.

// notFound says the same of a task that does not exist, has expired or is another
// caller's: a client cannot tell the three apart.
func notFound() *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "Task not found: it is unknown or has expired"}
}

func invalidParams(message string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message}
}

func internalError(message string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: message}
}

// unavailable refuses a request that this server cannot serve now, and may be able to
// serve soon: it cannot reach the store, or it shuts down. The client may send the same
// request again. If a tools/call lost the store's answer to its create, it may have left
// a task that no client knows, which fails as a lost one does, or runs if its tool has
// Retry. [Tasks.Handler] gives it status 503.
func unavailable() *jsonrpc.Error { return askAgain("temporarily unavailable, ask again") }

// askAgain is unavailable with another message.
func askAgain(message string) *jsonrpc.Error {
	return &jsonrpc.Error{
		Code: jsonrpc.CodeInternalError, Message: message,
		Data: json.RawMessage(`{"retryable":true,"retryAfterMs":1000}`),
	}
}

// missingCapability is built by hand: the SDK's type would add an empty "roots".
func missingCapability() *jsonrpc.Error {
	return &jsonrpc.Error{
		Code:    mcp.CodeMissingRequiredClientCapabilities,
		Message: "Missing required client capability",
		Data:    json.RawMessage(`{"requiredCapabilities":{"extensions":{"` + ExtensionID + `":{}}}}`),
	}
}

// wireError turns an error of the store into one that a client may see. Any error but a
// clear refusal means a failing store: it may have recovered when the client asks again.
func (t *Tasks) wireError(what string, err error) *jsonrpc.Error {
	var limit *tasks.LimitError
	var wire *jsonrpc.Error
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.Is(err, ErrShutdown), errors.Is(err, errCannotResume): // another replica can
		return unavailable()
	case errors.Is(err, tasks.ErrNotFound):
		return notFound()
	case errors.As(err, &limit) && limit.Limit == tasks.LimitActive:
		return internalError(fmt.Sprintf("too many tasks that have not ended: at most %d; wait until one ends, or cancel one", limit.Max))
	case errors.As(err, &limit) && limit.Limit == tasks.LimitTasks:
		return internalError(fmt.Sprintf("too many tasks: at most %d are kept; wait until older ones expire", limit.Max))
	case errors.As(err, &limit):
		return invalidParams(limit.Error())
	case errors.Is(err, tasks.ErrInvalid):
		return invalidParams("invalid params")
	}
	if !errors.Is(err, context.Canceled) { // the client is gone
		t.log.requestFailed(what, err)
	}
	var tooBig *taskstore.CapacityError // unset by a backend that is full just now
	if errors.As(err, &tooBig) {
		return internalError("internal error")
	}
	for _, definite := range []error{
		taskstore.ErrCorrupt, tasks.ErrFormat, taskstore.ErrInvalidArgument, taskstore.ErrInvalidKey,
		tasks.ErrTerminal, tasks.ErrTransition, tasks.ErrInputKeyReused, tasks.ErrIdempotencyMismatch,
	} {
		if errors.Is(err, definite) {
			return internalError("internal error")
		}
	}
	return unavailable()
}
