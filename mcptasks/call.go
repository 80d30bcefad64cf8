package mcptasks

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// call answers tools/call. The server's chain runs once, in the request. At its end the
// gate of the tool, see [installation.gate], starts the run, makes a task of the call and
// lets the chain unwind with a result that stands for the CreateTaskResult: the SDK has no
// other for the end of the chain. Here the client is given the CreateTaskResult instead.
func (in *installation) call(ctx context.Context, call *mcp.CallToolRequest) (mcp.Result, error) {
	p := &passage{}
	ctx = context.WithValue(ctx, passageKey{}, p)
	var res mcp.Result
	var err error
	if opts, foreign := in.tool(call.Params.Name); foreign && (!capable(call) || in.knows(ctx, call.Session, call.Params.Name)) {
		o := in.gate(ctx, call, opts, true)
		res, err = o.answer, o.err
	} else {
		res, err = in.next(ctx, methodCall, call)
	}
	e := p.end()
	switch {
	case e == nil:
		if result, ok := res.(*mcp.CallToolResult); p.callOff != nil && (err != nil || ok && result.IsError) {
			go p.callOff()
		}
		return res, err
	case e.settle():
		// The handler may still run after middleware has given up on it.
		e.cancel(ErrAnswered)
		return res, err
	}
	if result, ok := res.(*mcp.CallToolResult); err != nil || ok && result.IsError {
		// The middleware that refuses the call now has the last word.
		e.cancel(ErrLost)
		e.in.runs.hold(e)
		go func() {
			defer e.in.runs.release(e)
			e.takeBack(e.created)
		}()
		return res, err
	}
	return &taskResult{ResultType: "task", taskFields: toWire(&e.created)}, nil
}

// A passage is one tools/call on its way through the server's chain.
type passage struct {
	mu    sync.Mutex
	over  bool       // the request has its answer
	begun *execution // nil: not begun
	// callOff cancels the task that a plain client's answer names. Nil: no task is named.
	callOff func()
}

type passageKey struct{}

// begin reports false if the request has its answer, or is a task.
func (p *passage) begin(e *execution) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.begun != nil && p.begun.task() != nil {
		return false
	}
	p.begun = e
	return true
}

// tells is for the answer of a plain client's call that names a task. If the request has
// another answer already, callOff is called at once.
func (p *passage) tells(callOff func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		go callOff()
		return
	}
	p.callOff = callOff
}

// end returns the execution that has begun.
func (p *passage) end() *execution {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	return p.begun
}

// gate is the point at which the server's chain has come to a tool, so the whole chain
// has let the call pass. It runs the tool, and the call becomes a task, as opts say: as
// soon as the run has come to the handler, or before it begins if the tool is a foreign
// one, whose handler does not say that it is called. The call of a client without the
// extension is answered when the run is over.
func (in *installation) gate(ctx context.Context, call *mcp.CallToolRequest, opts *ToolOptions, foreign bool) outcome {
	chain := in.run
	if foreign {
		chain = in.aside
	}
	p, _ := ctx.Value(passageKey{}).(*passage)
	switch {
	case p == nil:
		in.warnIfUninstalled(call)
		return in.protect(ctx, call, chain)
	case !capable(call):
		if o, ok := in.fallBack(ctx, call, opts, chain, foreign); ok {
			return o
		}
		if opts.Required {
			return outcome{err: missingCapability()}
		}
		return in.protect(ctx, call, chain)
	}
	who, err := callerOf(ctx)
	if err != nil {
		return outcome{err: err}
	}
	e, err := in.begin(ctx, who.newOwner(), cloned(call), opts, chain)
	if err != nil {
		return outcome{err: in.wireError(methodCall, err)}
	}
	e.request = ctx
	if !p.begin(e) {
		err = internalError("the call is answered already, or is a task")
	} else if foreign && opts.Mode == Auto && opts.Grace == 0 {
		err = e.promoteAtOnce()
	}
	if err != nil {
		e.settle()
		e.end()
		return outcome{err: err}
	}
	return e.await(ctx)
}

// cloned returns a copy of call, which middleware may change, even after the call has its
// answer.
func cloned(call *mcp.CallToolRequest) *mcp.CallToolRequest {
	c, params := *call, *call.Params
	params.Meta, params.InputResponses = maps.Clone(params.Meta), maps.Clone(params.InputResponses)
	c.Params = &params
	return &c
}

// promoteAtOnce makes a task of a call before its handler is called. It returns an error
// if the handler must not be called.
func (e *execution) promoteAtOnce() error {
	err := e.promote(e.request)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrAnswered): // its client is gone
		return internalError(err.Error())
	case refused(err) && !e.opts.Required:
		// The tool's author, not its client, asked for tasks: the call goes on as that of
		// a client without the extension does.
		e.in.log.noTask(e.call.Params.Name, err)
		return nil
	}
	return e.in.wireError(methodCall, err)
}

// await runs the handler until it is done or the call has become a task.
func (e *execution) await(ctx context.Context) outcome {
	answer := make(chan outcome, 1)
	go func() {
		if o, ok := e.work(); ok {
			answer <- o
		}
	}()
	if e.opts.Mode == Auto && e.opts.Grace > 0 {
		grace := time.AfterFunc(e.opts.Grace, func() { e.promoteInTime(ctx) })
		defer grace.Stop()
	}
	select {
	case o := <-answer:
		return o
	case <-e.promoted:
	case <-ctx.Done():
		if e.settle() {
			e.cancel(context.Cause(ctx))
			return outcome{err: &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: ctx.Err().Error()}}
		}
	}
	return outcome{answer: standIn(&e.created)}
}

// standIn is the result that middleware gets of a call that has become t.
func standIn(t *tasks.Task) *mcp.CallToolResult {
	return &mcp.CallToolResult{
		Meta:    mcp.Meta{ExtensionID: map[string]any{"resultType": "task", "taskId": wireID(t.Owner, t.ID)}},
		Content: []mcp.Content{&mcp.TextContent{Text: "The call goes on as a task."}},
	}
}

// promoteInTime makes a task of a call whose Grace is over. It retries while the store
// fails: the handler runs already, and its answer may be far away.
func (e *execution) promoteInTime(ctx context.Context) {
	logged := false
	_ = retry(ctx, func() error { return e.promote(ctx) }, func(err error) bool {
		if errors.Is(err, ErrAnswered) || ctx.Err() != nil {
			return true
		}
		if !logged {
			logged = true
			e.in.log.noTask(e.call.Params.Name, err)
		}
		return refused(err) || hopeless(err)
	})
}
