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

// A plainCall is a call of a plain client, of a tool with a fallback. It waits for the
// result, as a call without a task does, and becomes a task when Wait is over.
type plainCall struct {
	in       *installation
	opts     *ToolOptions
	chain    mcp.MethodHandler
	who      tenant
	asked    *mcp.CallToolRequest // as it came to the gate
	call     *mcp.CallToolRequest // as the handler and the store get it
	until    time.Time            // when it is to be answered
	progress *progress
	joint    *joint // of the calls that are one; nil: this one is alone
	// asksItself says that a question may be the call's answer: the SDK then asks the
	// client.
	asksItself bool
}

// fallBack answers a call of a plain client that has come to the gate. It reports false
// if the tool, or the client, has no fallback.
func (in *installation) fallBack(ctx context.Context, call *mcp.CallToolRequest, opts *ToolOptions, chain mcp.MethodHandler, foreign bool) (o outcome, ok bool) {
	if !in.fallsBack(opts) {
		return outcome{}, false
	}
	who, ok, err := in.plainTenant(ctx, call.Session)
	if err != nil {
		return outcome{err: err}, true
	}
	if !ok {
		in.warnIfAnonymous(call.Params.Name)
		return outcome{}, false
	}
	// The SDK itself asks a client of an older protocol, once for a call, if the gate is
	// at the end of the chain.
	in.fallback.shown.Store(true)
	p := &plainCall{
		in: in, opts: opts, chain: chain, who: who, asked: call, call: plainRequest(call),
		until: time.Now().Add(in.opts.Fallback.Wait), progress: newProgress(ctx, call),
		asksItself: call.ProtocolVersion() >= firstVersion || !foreign && call.Params.InputResponses == nil,
	}
	defer p.progress.end()
	if o = p.run(ctx); o.result() != nil {
		o.answer = asOf(call.ProtocolVersion(), o.result())
	}
	return o, true
}

// run calls the handler and returns the call's answer: the handler's result or questions,
// or the answer that describes the task.
func (p *plainCall) run(ctx context.Context) outcome {
	opts := *p.opts
	opts.Mode = Manual // it is run that says when
	e, err := p.in.begin(ctx, p.who.newOwner(), p.call, &opts, p.chain)
	if err != nil {
		return outcome{err: p.in.wireError(methodCall, err)}
	}
	e.request, e.plain = ctx, p
	if o, joined := p.join(ctx, e); joined {
		e.end()
		return o
	}
	answer := make(chan outcome, 1)
	go func() {
		if o, ok := e.work(); ok {
			answer <- o
		}
	}()
	wait := time.NewTimer(time.Until(p.until))
	defer wait.Stop()
	for {
		select {
		case o := <-answer:
			return o
		case <-e.promoted:
			return p.follow(ctx, e.created)
		case <-wait.C:
			go e.promoteInTime(ctx)
		case <-ctx.Done():
			if e.settle() {
				e.cancel(context.Cause(ctx))
				return gone(ctx)
			}
			return p.follow(ctx, e.created)
		}
	}
}

// gone is the outcome of a call whose client no longer waits.
func gone(ctx context.Context) outcome {
	return outcome{err: &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: ctx.Err().Error()}}
}

// follow waits for the end of the call's task, or for its question, until the call has to
// be answered. A client that goes away meanwhile has not heard of the task: follow
// cancels it, as any call, unless another call has heard of it.
func (p *plainCall) follow(ctx context.Context, known tasks.Task) outcome {
	owner, id := known.Owner, known.ID
	t, err := p.in.settled(ctx, owner, id, time.Until(p.until), p.progress)
	switch {
	case ctx.Err() != nil:
		p.callOff(ctx, owner, id)
		return gone(ctx)
	case errors.Is(err, tasks.ErrNotFound):
		return outcome{answer: p.in.refusalOf(methodCall, err)}
	case t.ID == "":
		t = known // the client has to hear of the task, even if the store fails
	}
	if passage, _ := ctx.Value(passageKey{}).(*passage); passage != nil && !t.Status.Terminal() {
		passage.tells(func() { p.callOff(ctx, owner, id) })
	}
	return outcome{answer: p.in.answerOf(&t, p.call.Params.Name, errors.Is(err, errCrowded))}
}

// callOff cancels a task that its client does not hear of: the client is gone, or
// middleware has refused the call after all. It spares a task that another call may have
// heard of.
func (p *plainCall) callOff(ctx context.Context, owner, id string) {
	if p.joint.shared() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.in.store.Options().Lease)
	defer cancel()
	_, _ = p.in.store.Cancel(ctx, owner, id)
}

// settled returns the task when it has ended or asks something, or as it is when that
// takes longer than wait, or the server shuts down. With an error, errCrowded say, it
// returns the task as it was seen last, if it was.
func (in *installation) settled(ctx context.Context, owner, id string, wait time.Duration, said *progress) (tasks.Task, error) {
	t, err := in.store.Get(ctx, owner, id)
	if err != nil || wait <= 0 || !busy(&t) {
		return t, err
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	leave, ok := in.waits.enter(&waiting{in, owner, cancel})
	if !ok {
		return t, errCrowded
	}
	defer leave()
	if in.runs.drains(in) {
		return t, nil
	}
	for next, err := range in.store.Changes(until, owner, id) {
		switch {
		case err != nil && until.Err() != nil:
			return t, ctx.Err()
		case err != nil:
			return t, err
		}
		t = next
		said.say(t.StatusMessage)
		if !busy(&t) {
			break
		}
	}
	return t, nil
}

// busy reports whether all that is left to do about the task is to wait.
func busy(t *tasks.Task) bool { return t.Status == tasks.Working }

// forPlain adapts a handler's result to the call of a plain client. If the client cannot
// be asked itself, the call becomes a task, which asks the handler's questions.
func (e *execution) forPlain(o outcome) outcome {
	if !o.needsInput() || e.plain == nil && (e.request != nil || !isPlain(e.call)) {
		return o
	}
	waits := e.request != nil && e.request.Err() == nil && e.task() == nil
	asks := o.result().InputRequests
	if waits && e.plain.asksItself && lacks(e.plain.asked.ClientCapabilities(), asks) == nil {
		return o
	}
	for _, q := range asks {
		if _, ok := q.(*mcp.ElicitParams); !ok {
			return outcome{err: lacks(nil, mcp.InputRequestMap{"": q})}
		}
	}
	if waits {
		e.promoteInTime(e.request)
		if e.task() == nil {
			return outcome{err: unavailable()}
		}
	}
	return o
}

// asOf returns a tool's result as a client of this protocol version takes it: only the
// newest has a type in it, which the handler's session has set.
func asOf(version string, r *mcp.CallToolResult) *mcp.CallToolResult {
	if r == nil || r.InputRequests != nil {
		return r
	}
	shown := new(mcp.CallToolResult)
	if version >= firstVersion {
		_ = json.Unmarshal([]byte(`{"content":[],"resultType":"complete"}`), shown) // the field is not exported
	}
	shown.Meta, shown.Content, shown.StructuredContent, shown.IsError = r.Meta, r.Content, r.StructuredContent, r.IsError
	if err := r.GetError(); err != nil {
		shown.SetError(err)
	}
	return shown
}

// ownResult returns the result of a tool's handler, from the store.
func ownResult(stored json.RawMessage) (*mcp.CallToolResult, error) {
	var res mcp.CallToolResult
	var structured struct {
		Content json.RawMessage `json:"structuredContent"`
	}
	if err := errors.Join(json.Unmarshal(stored, &res), json.Unmarshal(stored, &structured)); err != nil {
		return nil, err
	}
	if structured.Content != nil {
		res.StructuredContent = structured.Content // byte for byte
	}
	return &res, nil
}
