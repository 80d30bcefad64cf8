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
	// ErrAnonymous is what [Options.Owner] returns for a request that comes from
	// nobody in particular.
	ErrAnonymous = errors.New("mcptasks: anonymous request")
	// ErrCancelled is the cause of a handler's ctx after tasks/cancel, and what a
	// client's CallTool returns for a task that was cancelled.
	ErrCancelled = errors.New("mcptasks: task cancelled")
	// ErrLost is the cause of a handler's ctx when the task is no longer this
	// replica's, or has expired: whatever the handler returns is dropped.
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
	// ErrNotFound is what a client gets for a task that its server does not know, or
	// not any more: the id is wrong, another user's, or the task has expired.
	ErrNotFound = errors.New("mcptasks: the task is unknown or has expired")
	// ErrUnavailable is what a client gets when its server could not be reached, or
	// refused for the time being, for all of [ClientOptions].RetryFor.
	ErrUnavailable = errors.New("mcptasks: the server is unavailable")
	// ErrInvalidResponse is what a client gets for an answer that the protocol does
	// not allow there.
	ErrInvalidResponse = errors.New("mcptasks: invalid response")
	// ErrQuestionClosed is the cause of the ctx of a client's handler whose answer
	// nobody waits for any more: the question was answered elsewhere, or the task has
	// ended, or CallTool has returned. For a task that was cancelled it is ErrCancelled.
	ErrQuestionClosed = errors.New("mcptasks: the question is no longer open")
)

// Every error that leaves the middleware is a *jsonrpc.Error: the SDK sends any
// other with code 0.

// notFound says the same of a task that never was, has expired or is somebody else's:
// the three cannot be told apart.
func notFound() *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "Task not found: it is unknown or has expired"}
}

func invalidParams(message string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message}
}

func internalError(message string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: message}
}

// unavailable answers what this server cannot do now, and may be able to do soon:
// the store cannot be reached, or the server shuts down. Nothing was done, or nothing
// that making the request again would spoil; but a tools/call whose create lost its
// answer may have become a task that nobody was told of, which fails as a lost one
// does, or runs where its tool has Retry. [Tasks.Handler] gives it status
// 503.
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

// wireError makes of what the store reports what a client may be told. What is no
// clear refusal is a store that fails: it may have recovered when the client asks
// again.
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
	var tooBig *taskstore.CapacityError // a backend that is full just now gives none
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
