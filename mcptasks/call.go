package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// call answers tools/call.
func (in *installation) call(ctx context.Context, call *mcp.CallToolRequest) (mcp.Result, error) {
	opts := in.tool(call.Params.Name)
	switch {
	case opts == nil:
		return in.next(ctx, methodCall, call)
	case !capable(call) && opts.Required:
		return nil, missingCapability()
	case !capable(call):
		return result(in.protect(ctx, call))
	}
	who, err := in.tenant(ctx, call)
	if err != nil {
		return nil, err
	}
	background := &mcp.CallToolRequest{Params: call.Params}
	if extra := call.Extra; extra != nil {
		background.Extra = &mcp.RequestExtra{TokenInfo: extra.TokenInfo, Header: extra.Header}
	}
	e, err := in.begin(ctx, who.newOwner(), background, opts, false)
	if err != nil {
		return nil, internalError("the server is shutting down")
	}
	if opts.Mode == Auto && opts.Grace <= 0 {
		t, err := e.create(ctx)
		if err != nil {
			e.end()
			return nil, in.wireError(methodCall, err)
		}
		go e.work()
		return created(&t), nil
	}
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
	var grace <-chan time.Time
	if e.opts.Mode == Auto {
		timer := time.NewTimer(e.opts.Grace)
		defer timer.Stop()
		grace = timer.C
	}
	for {
		select {
		case o := <-answer:
			return result(o)
		case <-e.promoted:
			t := e.run.Task()
			return created(&t), nil
		case <-grace:
			err := e.promote(ctx)
			if err != nil && !errors.Is(err, ErrAnswered) {
				// The handler runs already: its answer is worth waiting for.
				e.in.log.Warn("mcptasks: a call could not become a task", "error", err)
			}
		case <-ctx.Done():
			if e.settle() {
				e.cancel(context.Cause(ctx))
				return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: ctx.Err().Error()}
			}
		}
	}
}

func result(o outcome) (mcp.Result, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.res, nil
}

func created(t *tasks.Task) mcp.Result {
	return &taskResult{ResultType: "task", taskFields: seed(t)}
}

// resume acquires a task and goes on with it in the background, unless somebody
// else is faster. Where the tool is not this server's, it leaves the task alone.
func (in *installation) resume(t tasks.Task, orphan bool) {
	call, err := savedCall(t.Request)
	if err != nil {
		in.log.Error("mcptasks: a task cannot be resumed: its request is damaged")
		return
	}
	opts := in.tool(call.Params.Name)
	if opts == nil {
		in.log.Warn("mcptasks: a task cannot be resumed here: this server does not have its tool")
		return
	}
	e, err := in.begin(context.Background(), t.Owner, call, opts, orphan)
	if err != nil {
		return // another replica will
	}
	go func() {
		if err := e.acquire(t.ID); err != nil {
			e.end()
			return
		}
		e.work()
	}()
}

// acquire makes the execution that of a stored task.
func (e *execution) acquire(id string) error {
	ctx, cancel := context.WithTimeout(e.ctx, e.in.store.Options().Lease)
	defer cancel()
	var run *tasks.Run
	err := e.write(ctx, func() (err error) {
		run, err = e.in.store.Acquire(ctx, e.owner, id, e.in.holder)
		if errors.Is(err, tasks.ErrLeaseHeld) || errors.Is(err, tasks.ErrTerminal) ||
			errors.Is(err, tasks.ErrTransition) || errors.Is(err, tasks.ErrNotFound) {
			err = errors.Join(tasks.ErrLeaseLost, err) // somebody else's, for good
		}
		return err
	})
	if err != nil {
		return err
	}
	t := run.Task()
	e.adopt(run)
	if e.state, err = decodeCheckpoint(t.State); err == nil {
		err = e.state.answers(&t, e.call.Params)
	}
	if err != nil {
		e.in.log.Error("mcptasks: a task cannot be resumed: its checkpoint is damaged")
		e.conclude(outcome{err: internalError("the task cannot be resumed")})
		e.stop()
	}
	return err
}

// savedCall returns the call that execution.request stored.
func savedCall(request json.RawMessage) (*mcp.CallToolRequest, error) {
	params := new(mcp.CallToolParamsRaw)
	if err := json.Unmarshal(request, params); err != nil {
		return nil, err
	}
	if params.Name == "" {
		return nil, errors.New("no tool")
	}
	return &mcp.CallToolRequest{Params: params}, nil
}
