package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// An execution is one call of a handler in the background: as a task from the
// start, or until it becomes one.
type execution struct {
	in   *installation
	opts *ToolOptions
	call *mcp.CallToolRequest // without a session
	// owner is whose task it is or would be.
	owner  string
	orphan bool            // of a replica that was lost
	ctx    context.Context // the handler's
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	run      *tasks.Run    // nil: no task yet
	promoted chan struct{} // closed when there is a task
	answered bool          // the call has its answer, without a task
	message  string        // before there is a task
	state    checkpoint
	stop     func() // ends what keeps the lease
}

// An outcome is what a handler returned.
type outcome struct {
	res *mcp.CallToolResult
	err error
}

func (o outcome) good() bool {
	return o.err == nil && o.res != nil && !o.res.IsError && o.res.InputRequests == nil
}

// asks reports whether the handler wants to be called again, with input.
func (o outcome) asks() bool { return o.err == nil && o.res != nil && len(o.res.InputRequests) > 0 }

// begin makes an execution. Its ctx has the values of ctx and not its end. It
// fails when the server shuts down. Who calls it calls end.
func (in *installation) begin(ctx context.Context, owner string, call *mcp.CallToolRequest, opts *ToolOptions, orphan bool) (*execution, error) {
	e := &execution{in: in, opts: opts, call: call, owner: owner, orphan: orphan, promoted: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	e.ctx = context.WithValue(e.ctx, taskKey{}, &Task{e})
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.draining {
		e.cancel(ErrShutdown)
		return nil, ErrShutdown
	}
	in.active[e] = struct{}{}
	in.idle.Add(1)
	return e, nil
}

func (e *execution) end() {
	e.cancel(nil)
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	delete(e.in.active, e)
	e.in.idle.Done()
}

// request returns what the store keeps of the call: enough to make it again, and
// neither token nor headers nor progress token.
func (e *execution) request() (json.RawMessage, error) {
	params := *e.call.Params
	params.Meta = make(mcp.Meta, len(e.call.Params.Meta))
	for key, value := range e.call.Params.Meta {
		if key != "progressToken" {
			params.Meta[key] = value
		}
	}
	return json.Marshal(&params)
}

// create stores the task. It is called once, before the handler runs or under mu.
func (e *execution) create(ctx context.Context) (tasks.Task, error) {
	request, err := e.request()
	if err != nil {
		return tasks.Task{}, err
	}
	t, _, err := e.in.store.Create(ctx, e.owner, tasks.CreateParams{
		Request: request, StatusMessage: e.message, TTL: e.opts.TTL, PollInterval: e.opts.PollInterval,
		Holder: e.in.holder, Resumable: e.opts.Retry,
	})
	if err != nil {
		return tasks.Task{}, err
	}
	e.adopt(e.in.store.RunOf(t))
	return t, nil
}

// adopt makes run the execution's task.
func (e *execution) adopt(run *tasks.Run) {
	e.run = run
	e.stop = e.keep(run)
	close(e.promoted)
}

// promote makes a task of the call, unless it is one or has its answer.
func (e *execution) promote(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.run != nil:
		return nil
	case e.answered:
		return ErrAnswered
	}
	if _, err := e.create(ctx); err != nil {
		return err
	}
	if e.state.User != nil {
		// The call is a task, whatever comes of this. A handler that is called again
		// without its checkpoint begins at its start, as after any other crash.
		if err := e.saveState(ctx, e.state.User); err != nil {
			e.in.log.Warn("mcptasks: the checkpoint of a new task could not be saved", "error", err)
		}
	}
	return nil
}

// settle says that the call gets its answer without a task. It reports false if
// there is a task.
func (e *execution) settle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered = e.run == nil
	return e.answered
}

// work calls the handler and brings its outcome to the task, or returns it if
// there is none.
func (e *execution) work() (o outcome, answer bool) {
	defer e.end()
	returned := make(chan outcome, 1)
	go func() { // of its own, since a handler can end its goroutine
		o := outcome{err: internalError("internal error")}
		defer func() { returned <- o }()
		o = e.in.invoke(e.ctx, e.call)
	}()
	o = <-returned
	if e.settle() {
		return o, true
	}
	defer e.stop()
	e.conclude(o)
	return outcome{}, false
}

// invoke calls the handler on a session of its own.
func (in *installation) invoke(ctx context.Context, call *mcp.CallToolRequest) outcome {
	session, err := in.privateSession(context.WithoutCancel(ctx), call)
	if err != nil {
		in.log.Error("mcptasks: no session for a task", "error", err)
		return outcome{err: internalError("internal error")}
	}
	defer session.Close()
	return in.protect(ctx, &mcp.CallToolRequest{Session: session, Params: call.Params, Extra: call.Extra})
}

// protect calls the handler and makes an error of a panic, which the SDK would
// let end the process.
func (in *installation) protect(ctx context.Context, call *mcp.CallToolRequest) (o outcome) {
	returned := false
	defer func() {
		if returned {
			return
		}
		// The value may hold payload; its type and the stack do not.
		in.log.Error("mcptasks: tool handler panicked", "tool", call.Params.Name,
			"type", fmt.Sprintf("%T", recover()), "stack", string(debug.Stack()))
		o = outcome{err: internalError("internal error")}
	}()
	res, err := in.next(ctx, methodCall, call)
	returned = true
	if err != nil {
		return outcome{err: err}
	}
	r, ok := res.(*mcp.CallToolResult)
	if !ok || r == nil {
		in.log.Error("mcptasks: a tool call gave no CallToolResult", "tool", call.Params.Name)
		return outcome{err: internalError("internal error")}
	}
	return outcome{res: r}
}

// conclude brings the task to where the outcome leads. It tries again while the
// store fails, as long as nobody else has taken the task.
func (e *execution) conclude(o outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), max(e.in.store.Options().Lease, 5*time.Second))
	defer cancel()
	err := e.write(ctx, func() error { return e.conclusion(ctx, o) })
	if refused(err) {
		failure := tasks.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}
		err = e.write(ctx, func() error { _, err := e.run.Fail(ctx, failure); return err })
	}
	if err != nil && !errors.Is(err, tasks.ErrLeaseLost) {
		e.in.log.Error("mcptasks: the outcome of a task is lost", "tool", e.call.Params.Name, "error", err)
	}
}

func (e *execution) conclusion(ctx context.Context, o outcome) (err error) {
	run, cause := e.run, context.Cause(e.ctx)
	cutShort := errors.Is(cause, ErrShutdown) && !o.good() && !o.asks()
	switch {
	case errors.Is(cause, ErrLost):
		return nil
	case !o.good() && (errors.Is(cause, ErrCancelled) || run.Task().CancelRequested):
		_, err = run.Cancelled(ctx)
	case cutShort && run.Task().Resumable:
		_, err = run.Release(ctx)
	case cutShort:
		_, err = run.Fail(ctx, tasks.Error{Code: jsonrpc.CodeInternalError, Message: "the server was shut down"})
	case o.err != nil:
		_, err = run.Fail(ctx, storedError(o.err))
	case o.asks():
		err = e.park(ctx, o.res)
	case o.res.InputRequests != nil: // the SDK's way to say busy
		_, err = run.Fail(ctx, tasks.Error{Code: jsonrpc.CodeInternalError, Message: "the server is busy, retry later"})
	default:
		var result []byte
		if result, err = json.Marshal(o.res); err != nil {
			_, err = run.Fail(ctx, tasks.Error{Code: jsonrpc.CodeInternalError, Message: "the result has no JSON form"})
			break
		}
		_, err = run.Complete(ctx, result)
	}
	return err
}

// park stores the handler's questions and gives the lease up.
func (e *execution) park(ctx context.Context, res *mcp.CallToolResult) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next, questions, err := e.state.ask(res.InputRequests, res.RequestState, e.run.Task().InputKeys)
	if err != nil {
		_, err = e.run.Fail(ctx, tasks.Error{Code: jsonrpc.CodeInternalError, Message: "the input requests have no JSON form"})
		return err
	}
	state, err := next.encode()
	if err != nil {
		return err
	}
	_, err = e.run.Park(ctx, state, questions)
	return err
}

// write calls put until it succeeds, cannot, or ctx ends.
func (e *execution) write(ctx context.Context, put func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := put()
		if err == nil || errors.Is(err, tasks.ErrLeaseLost) || refused(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// refused reports whether what was to be written can never be: it makes no sense
// or is too big, for the limits of tasks or for the backend. A backend that has no
// room just now gives no CapacityError.
func refused(err error) bool {
	var capacity *taskstore.CapacityError
	return errors.Is(err, tasks.ErrLimit) || errors.Is(err, tasks.ErrInvalid) || errors.As(err, &capacity)
}

// storedError returns err as the JSON-RPC error that the call would have had.
func storedError(err error) tasks.Error {
	var wire *jsonrpc.Error
	if !errors.As(err, &wire) {
		return tasks.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}
	}
	e := tasks.Error{Code: wire.Code, Message: wire.Message, Data: wire.Data}
	if e.Message == "" {
		e.Message = "error"
	}
	return e
}
