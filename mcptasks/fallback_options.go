package mcptasks

import (
	"fmt"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// FallbackOptions adjusts how the server answers clients without the extension that call
// tools with a fallback, see [Fallback]. The zero value means the defaults.
type FallbackOptions struct {
	// All gives a fallback to every tool that AddTool adds, but for those whose ToolOptions
	// say [FallbackOff], or Required and not [FallbackOn].
	All bool
	// Wait bounds how long a call waits for its result before it is answered with the
	// task, and how long one call of the status tool waits. Keep it below the time after
	// which clients give up: the official SDKs do after 60 s. Default 45 s.
	Wait time.Duration
	// StatusTool, AnswerTool and CancelTool name the three tools. Set them if the server
	// has tools of these names, since of two tools with one name the server keeps the one
	// that was added last, also one that other code added; or if one client uses several
	// servers and confuses theirs. Default task_status, task_answer and task_cancel.
	StatusTool, AnswerTool, CancelTool string
	// Anonymous gives a fallback to anonymous callers over HTTP too. The task's id is
	// then all that guards the task, and it lies in the transcript of a conversation. By
	// default their calls are answered as they are without a fallback. On stdio, see
	// [Tasks.Transport], callers do not need it: there the owner is the process's user.
	Anonymous bool
}

// resolve puts the defaults in.
func (o FallbackOptions) resolve() (FallbackOptions, error) {
	if o.Wait < 0 {
		return o, &tasks.InvalidError{Argument: "Fallback.Wait", Reason: "it is negative; 0 means 45 seconds"}
	}
	if o.Wait == 0 {
		o.Wait = 45 * time.Second
	}
	for name, value := range map[*string]string{&o.StatusTool: "task_status", &o.AnswerTool: "task_answer", &o.CancelTool: "task_cancel"} {
		if *name == "" {
			*name = value
		}
	}
	if o.StatusTool == o.AnswerTool || o.AnswerTool == o.CancelTool || o.CancelTool == o.StatusTool {
		return o, &tasks.InvalidError{Argument: "Fallback", Reason: "two of the three tools share a name; give each its own"}
	}
	return o, nil
}

// A Fallback decides how a tool answers a client without the extension: nearly every
// client of today. Without a fallback its call waits for the result, as long as that
// takes, and if the client gives up the work is lost.
//
// With a fallback the server answers the call after [FallbackOptions].Wait at the latest.
// A handler that ends in time gives its result, as ever. Otherwise the call becomes a
// task, that of a Manual tool too, and the answer says in words that a model follows, and
// in structured content, how to go on: by three tools that tell how the task stands and
// return its result, answer its questions, and cancel it. Only these clients see the
// three tools, and a line about them in the server's instructions; their list has the
// tool without its outputSchema, which such an answer does not fit. A client that cancels
// its call before it has the answer cancels the work too.
//
// The handler runs as for a client with the extension: on a session of its own, which has
// protocol version 2026-07-28 and takes questions by [mcp.CallToolResult.InputRequests].
// A question goes to the client itself if the client can be asked and its call still
// waits, and is answered by the answer tool otherwise. The answer tool takes only
// elicitations: a handler that asks for sampling or roots gets the error -32021 for its
// task.
type Fallback int

const (
	// FallbackDefault is FallbackOn with [FallbackOptions].All, unless the tool is Required,
	// else FallbackOff.
	FallbackDefault Fallback = iota
	FallbackOn
	FallbackOff
)

// Repeats decides how the server answers a call with a fallback whose arguments are those
// of another call, of the same owner, that has not ended: a model calls again when it
// gets impatient. A call that is joined gets the other's result, or its task. Only calls
// that run in this process, or wait there to be answered, can be joined; those of
// anonymous callers over HTTP cannot.
type Repeats int

const (
	// RepeatsByHint is RepeatsJoin for a tool whose annotations have IdempotentHint, else
	// RepeatsRun.
	RepeatsByHint Repeats = iota
	// RepeatsJoin joins the call to the one that runs.
	RepeatsJoin
	// RepeatsRun runs the tool once more.
	RepeatsRun
)

// checkFallback reports the option about the fallback that makes no sense.
func (o *ToolOptions) checkFallback() error {
	if o.Fallback < FallbackDefault || o.Fallback > FallbackOff {
		return fmt.Errorf("ToolOptions.Fallback is %d; it must be FallbackDefault, FallbackOn or FallbackOff", o.Fallback)
	}
	if o.Repeats < RepeatsByHint || o.Repeats > RepeatsRun {
		return fmt.Errorf("ToolOptions.Repeats is %d; it must be RepeatsByHint, RepeatsJoin or RepeatsRun", o.Repeats)
	}
	return nil
}

// fallsBack reports whether a tool has a fallback.
func (t *Tasks) fallsBack(o *ToolOptions) bool {
	return o.Fallback == FallbackOn || o.Fallback == FallbackDefault && t.opts.Fallback.All && !o.Required
}

// joins reports whether repeated calls of the tool are joined.
func (o *ToolOptions) joins() bool {
	return o.Repeats == RepeatsJoin || o.Repeats == RepeatsByHint && o.idempotent
}
