package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// An outcome is the return of a handler with all that runs around it.
type outcome struct {
	answer mcp.Result
	err    error
}

// forHandler returns o as a tool's handler returns it.
func (o outcome) forHandler() (*mcp.CallToolResult, error) { return o.result(), o.err }

// result returns the tool's result, or nil.
func (o outcome) result() *mcp.CallToolResult {
	res, _ := o.answer.(*mcp.CallToolResult)
	return res
}

func (o outcome) good() bool {
	res := o.result()
	return o.err == nil && res != nil && !res.IsError && res.InputRequests == nil
}

// needsInput reports whether the handler wants to be called again, with input.
func (o outcome) needsInput() bool {
	res := o.result()
	return o.err == nil && res != nil && len(res.InputRequests) > 0
}

// work calls the handler and brings its outcome to the task, or returns it if the call
// did not become one.
func (e *execution) work() (o outcome, answer bool) {
	defer e.end()
	returned := make(chan outcome, 1)
	go func() { // of its own, since a handler can end its goroutine
		o := outcome{err: internalError("internal error")}
		defer func() { returned <- o }()
		o = e.invoke()
	}()
	o = e.forPlain(<-returned)
	if e.settle() {
		return o, true
	}
	defer e.rest()
	e.toolError = o.result() != nil && o.result().IsError
	e.conclude(o)
	return outcome{}, false
}

// invoke calls the handler on a session of its own.
func (e *execution) invoke() outcome {
	session, err := e.privateSession()
	if err != nil {
		e.in.log.noSession(e.call.Params.Name, err)
		return outcome{err: internalError("internal error")}
	}
	defer session.Close()
	// A copy, since e.call stays as it came: the store keeps that one, also while the
	// handler changes its own.
	call := cloned(e.call)
	call.Session = session
	if extra := e.call.Extra; extra != nil {
		call.Extra = &mcp.RequestExtra{TokenInfo: extra.TokenInfo, Header: extra.Header}
	}
	return e.in.protect(e.handlerContext(e.ctx), call, e.chain)
}

// protect has chain call the handler and turns a panic into an error: the SDK would let
// it end the process.
func (in *installation) protect(ctx context.Context, call *mcp.CallToolRequest, chain mcp.MethodHandler) (o outcome) {
	o.err = in.guard(call.Params.Name, func() error {
		var err error
		o.answer, err = chain(ctx, methodCall, call)
		return err
	})
	if o.needsInput() {
		if err := unanswerable(call, o.result().InputRequests); err != nil {
			return outcome{err: err}
		}
	}
	return o
}

// guard calls code of the server's author. A panic, or the end of its goroutine,
// becomes an error.
func (in *installation) guard(tool string, f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		// The value may hold payload; its type and the stack do not.
		in.log.panicked(tool, fmt.Sprintf("%T", recover()), string(debug.Stack()))
		err = internalError("internal error")
	}()
	err = f()
	returned = true
	return err
}

// conclude stores the outcome in the task. It retries while the store fails, for as long
// as the process lives and the task is this replica's.
func (e *execution) conclude(o outcome) {
	end, err := e.ending(o)
	if err != nil {
		end = e.fail(e.storedError(err))
	}
	err = e.retry(end)
	if refused(err) {
		err = e.retry(e.fail(tasks.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}))
	}
	switch {
	case errors.Is(err, tasks.ErrNotFound): // it has expired
		e.lost = true
		e.in.log.outcomeLost(e.call.Params.Name, err)
	case errors.Is(err, tasks.ErrLeaseLost):
		e.lost = true
		e.in.log.lost(e.call.Params.Name)
	case err != nil:
		e.in.log.outcomeLost(e.call.Params.Name, err)
	}
}

// An ending is the write that an outcome leads to.
type ending func(ctx context.Context) error

// ended is the ending of a task that has ended, or is another replica's.
func ended(context.Context) error { return nil }

// ending returns the write for o. Marshaling calls code of the server's author, so
// it happens under guard, and once.
func (e *execution) ending(o outcome) (end ending, err error) {
	cause := context.Cause(e.ctx)
	cutShort := errors.Is(cause, ErrShutdown) && !o.good() && !o.needsInput()
	res, detached := o.result(), e.isDetached()
	switch {
	case errors.Is(cause, ErrLost):
		e.lost = true
		e.in.log.lost(e.call.Params.Name)
		return ended, nil
	case errors.Is(cause, ErrExpired):
		return ended, nil
	case detached && o.err == nil && (res == nil || o.good()):
		return ended, nil // the work elsewhere decides
	case detached && o.needsInput():
		return nil, internalError("the tool detached its task and asks for input: let the detached work ask")
	case !o.good() && errors.Is(cause, ErrCancelled):
		return e.cancelled, nil
	case !detached && (cutShort && e.opts.Retry || e.opts.Retry && e.toolIsGone(o)):
		return e.release, nil
	case cutShort:
		e.in.log.failed(e.call.Params.Name, MessageShutdown)
		return nil, internalError(MessageShutdown)
	case o.err != nil:
		return nil, o.err
	case res == nil:
		e.in.log.noResult(e.call.Params.Name)
		return nil, internalError("internal error")
	case o.needsInput():
		return e.park(res)
	case res.InputRequests != nil: // the SDK's way to say busy
		return nil, internalError("the server is busy, retry later")
	}
	var result json.RawMessage
	if err := e.marshal(func() (err error) { result, err = json.Marshal(res); return err }); err != nil {
		return nil, err
	}
	if o.good() {
		return func(ctx context.Context) error {
			_, err := e.task().Complete(ctx, result)
			return err
		}, nil
	}
	return e.unlessCancelled(func(t *tasks.Task) { t.Status, t.Result = tasks.Completed, result }), nil
}

// toolIsGone reports whether the run ended because the server does not have the tool any
// more. Other replicas may.
func (e *execution) toolIsGone(o outcome) bool {
	var wire *jsonrpc.Error
	return e.request == nil && !e.entered.Load() && errors.As(o.err, &wire) &&
		wire.Code == jsonrpc.CodeInvalidParams && strings.HasPrefix(wire.Message, "unknown tool ")
}

// marshal calls f, which marshals a return of the handler.
func (e *execution) marshal(f func() error) error {
	var failed error
	if err := e.in.guard(e.call.Params.Name, func() error { failed = f(); return nil }); err != nil {
		return err
	}
	if failed != nil {
		return internalError("the result has no JSON form")
	}
	return nil
}

// unlessCancelled ends the task as end says, or as cancelled, if a cancel was requested.
// The write itself decides, so that an acknowledged cancel holds also if the handler
// failed before it heard of it.
func (e *execution) unlessCancelled(end func(*tasks.Task)) ending {
	return func(ctx context.Context) error {
		_, err := e.task().Update(ctx, func(t *tasks.Task) error {
			if t.CancelRequested {
				t.Status = tasks.Cancelled
			} else {
				end(t)
			}
			return nil
		})
		return err
	}
}

func (e *execution) fail(failure tasks.Error) ending {
	return e.unlessCancelled(func(t *tasks.Task) { t.Status, t.Error = tasks.Failed, &failure })
}

func (e *execution) cancelled(ctx context.Context) error {
	_, err := e.task().Cancelled(ctx)
	return err
}

// release hands the task over to whichever replica takes it next.
func (e *execution) release(ctx context.Context) error {
	t, err := e.task().Release(ctx)
	if err == nil && t.Status == tasks.Working {
		e.in.log.handedOver(e.call.Params.Name)
	}
	return err
}

// park stores the handler's questions and gives the lease up.
func (e *execution) park(res *mcp.CallToolResult) (ending, error) {
	e.mu.Lock()
	before := e.state
	e.mu.Unlock()
	var next checkpoint
	var questions map[string]json.RawMessage
	var state []byte
	err := e.marshal(func() (err error) {
		if next, questions, err = before.ask(res.InputRequests, res.RequestState, e.task().Task().InputKeys); err == nil {
			state, err = next.encode()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := e.task().Park(ctx, state, questions)
		return err
	}, nil
}

// retry calls put until it succeeds, its error is final, or a shutdown has waited for
// long enough. A handler that returns after that has one attempt left.
func (e *execution) retry(put func(context.Context) error) error {
	return retry(e.storing, func() error {
		if e.storing.Err() == nil {
			return put(e.storing)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.storing), handlerTimeout)
		defer cancel()
		return put(ctx)
	}, func(err error) bool {
		return errors.Is(err, tasks.ErrLeaseLost) || refused(err) || hopeless(err)
	})
}

// hopeless reports whether time cannot heal err: the program has closed its store, or the
// record is damaged or of a newer format.
func hopeless(err error) bool {
	return errors.Is(err, taskstore.ErrClosed) || errors.Is(err, taskstore.ErrCorrupt) || errors.Is(err, tasks.ErrFormat)
}

// retry calls put until it succeeds, its error is final, or ctx ends.
func retry(ctx context.Context, put func() error, final func(error) bool) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := put()
		if err == nil || final(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// refused reports whether a write can only fail: it makes no sense or is too big, for the
// limits of tasks or for the backend. A backend that has no room just now gives no
// CapacityError.
func refused(err error) bool {
	var capacity *taskstore.CapacityError
	return errors.Is(err, tasks.ErrLimit) || errors.Is(err, tasks.ErrInvalid) || errors.As(err, &capacity)
}

// storedError returns err as the JSON-RPC error that the call would have had. The
// methods of err are code of the server's author.
func (e *execution) storedError(err error) tasks.Error {
	stored := tasks.Error{Code: jsonrpc.CodeInternalError, Message: "internal error"}
	_ = e.in.guard(e.call.Params.Name, func() error {
		var wire *jsonrpc.Error
		if !errors.As(err, &wire) {
			stored.Message = err.Error()
			return nil
		}
		stored = tasks.Error{Code: wire.Code, Message: wire.Message, Data: wire.Data}
		if stored.Message == "" {
			stored.Message = "error"
		}
		return nil
	})
	return stored
}
