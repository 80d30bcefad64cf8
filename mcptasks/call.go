package mcptasks

import (
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// call answers tools/call. The rest of the server's chain runs once, aside. When it
// comes to the tool's handler, which means that nothing in it has refused the call,
// the call becomes a task, as its ToolOptions say, and is answered; the handler goes
// on. Where the chain ends before there is a task, its result is the answer.
func (in *installation) call(ctx context.Context, call *mcp.CallToolRequest) (mcp.Result, error) {
	opts := in.tool(call.Params.Name)
	switch {
	case opts == nil:
		return in.next(ctx, methodCall, call)
	case !capable(call) && opts.Required:
		return nil, missingCapability()
	case !capable(call):
		o := in.protect(ctx, call)
		return o.answer, o.err
	}
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	e, err := in.begin(ctx, who.newOwner(), call, opts)
	if err != nil {
		return nil, in.wireError(methodCall, err)
	}
	e.request = ctx
	return e.await(ctx)
}

// await runs the handler until it is done or the call has become a task.
func (e *execution) await(ctx context.Context) (mcp.Result, error) {
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
		return o.answer, o.err
	case <-e.promoted:
	case <-ctx.Done():
		if e.settle() {
			e.cancel(context.Cause(ctx))
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: ctx.Err().Error()}
		}
	}
	return created(&e.created), nil
}

// promoteInTime makes a task of a call whose Grace is over. While the store fails it
// tries again: the handler runs already, and its answer may be far away.
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

// reached is called when the chain has come to the tool's handler, with what that
// gets. It returns an error if the handler must not run.
func (in *installation) reached(ctx context.Context, req *mcp.CallToolRequest) error {
	t := FromContext(ctx)
	if t == nil {
		in.warnIfUninstalled(req)
		return nil
	}
	t.e.entered.Store(true)
	if t.e.request == nil || t.e.opts.Mode != Auto || t.e.opts.Grace > 0 {
		return nil
	}
	err := t.e.promote(t.e.request)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrAnswered): // its client is gone
		return internalError(err.Error())
	case refused(err) && !t.e.opts.Required:
		// The tool's author, not its client, asked for tasks: the call goes on as that of
		// a client without the extension would.
		in.log.noTask(t.e.call.Params.Name, err)
		return nil
	}
	return in.wireError(methodCall, err)
}

// created returns the CreateTaskResult of t.
func created(t *tasks.Task) mcp.Result {
	return &taskResult{ResultType: "task", taskFields: seed(t)}
}
