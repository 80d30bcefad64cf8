package mcptasks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

type requestKey struct{}

// handle is the receiving middleware. The methods of tasks go on down the chain, so
// that all of the server's middleware sees them; taskMethod, at its end, answers
// them.
func (in *installation) handle(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
	ctx = in.withRequest(ctx, req)
	switch method {
	case methodCall:
		if call, ok := req.(*mcp.CallToolRequest); ok {
			return in.call(ctx, call)
		}
	case methodList, methodInitialize:
		res, err := in.next(ctx, method, req)
		in.showFallback(ctx, req, res)
		return res, err
	case methodDiscover:
		res, err := in.next(ctx, method, req)
		in.showFallback(ctx, req, res)
		if found, ok := res.(*mcp.DiscoverResult); ok && found.Capabilities != nil {
			found.Capabilities.AddExtension(ExtensionID, nil)
			in.warnIfTooOld(found)
		}
		return res, err
	case methodListen:
		if l, ok := req.(*mcp.SubscriptionsListenRequest); ok {
			return in.listen(ctx, l)
		}
	case methodGet, methodUpdate, methodCancel:
		ctx = context.WithValue(ctx, requestKey{}, taskRequest{method, req})
	}
	return in.next(ctx, method, req)
}

// declared has the methods by which a request describes its client.
type declared interface {
	GetParams() mcp.Params
	ProtocolVersion() string
}

// capable reports whether the client declares the extension on this request.
func capable(req declared) bool {
	if req.ProtocolVersion() < firstVersion {
		return false
	}
	// Looked up in the decoder's own map: the SDK would encode all capabilities and
	// decode them again, through a buffer of 32 KiB, for every request.
	capabilities, _ := req.GetParams().GetMeta()[mcp.MetaKeyClientCapabilities].(map[string]any)
	extensions, _ := capabilities["extensions"].(map[string]any)
	_, ok := extensions[ExtensionID]
	return ok
}

// A taskRequest is a request of one of the methods of tasks. The SDK hands the
// handler of a custom method neither the method nor headers and token.
type taskRequest struct {
	method string
	mcp.Request
}

// taskMethod answers tasks/get, tasks/update and tasks/cancel.
func (in *installation) taskMethod(ctx context.Context, _ *mcp.ServerSession, _ *taskParams) (mcp.Result, error) {
	r, _ := ctx.Value(requestKey{}).(taskRequest)
	req, ok := r.Request.(*mcp.ServerRequest[*taskParams])
	if !ok {
		return nil, internalError("middleware of the server has replaced the request's context")
	}
	method := r.method
	if req.ProtocolVersion() < firstVersion {
		// As a server without the extension: older protocols had other tasks.
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "method not found: " + method}
	}
	if req.Params == nil {
		return nil, invalidParams("there are no params")
	}
	if !capable(req) {
		return nil, missingCapability()
	}
	var id string
	if json.Unmarshal(req.Params.TaskID, &id) != nil || id == "" {
		return nil, invalidParams("taskId must be a string")
	}
	if extra := req.GetExtra(); extra != nil && extra.Header != nil {
		if err := in.checkName(extra.Header, id); err != nil {
			return nil, err
		}
	}
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	owner, stored, ok := who.stored(id)
	if !ok {
		return nil, notFound()
	}
	switch method {
	case methodGet:
		task, err := in.store.Get(ctx, owner, stored)
		if err != nil {
			return nil, in.wireError(method, err)
		}
		return &taskResult{ResultType: "complete", taskFields: toWireDetailed(&task)}, nil
	case methodCancel:
		if _, err := in.store.Cancel(ctx, owner, stored); err != nil {
			return nil, in.wireError(method, err)
		}
	case methodUpdate:
		if err := in.update(ctx, owner, stored, req.Params.InputResponses); err != nil {
			return nil, err
		}
	}
	return &ack{ResultType: "complete"}, nil
}

// update takes answers, and goes on with the task after the last one.
func (in *installation) update(ctx context.Context, owner, id string, raw json.RawMessage) error {
	var responses map[string]json.RawMessage
	if json.Unmarshal(raw, &responses) != nil || responses == nil {
		return invalidParams("inputResponses must be an object")
	}
	if most := in.store.Options().MaxInputKeys; most >= 0 && len(responses) > most {
		return invalidParams(fmt.Sprintf("too many input responses: at most %d", most))
	}
	var unknown []string
	for key, response := range responses {
		if !answerable(response) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		// An answer is wrong only if the task waits for it.
		task, err := in.store.Get(ctx, owner, id)
		if err != nil {
			return in.wireError(methodUpdate, err)
		}
		for _, key := range unknown {
			if _, waits := task.InputRequests[key]; waits {
				return invalidParams("an input response has an unknown shape")
			}
			delete(responses, key)
		}
	}
	// The replica that takes the last answer goes on with the task. So a replica that
	// cannot refuses before it takes one.
	var e *execution
	task, err := in.store.ProvideInput(ctx, owner, id, responses, func(t tasks.Task) error {
		if e != nil { // of an attempt that lost against another
			return nil
		}
		if t.Lease.Token == 0 || t.Lease.Detached {
			return nil // the task is not to go on here
		}
		if t.Service != in.service {
			return invalidParams("the task is another server's")
		}
		var err error
		e, err = in.prepare(owner, t.Request)
		return err
	})
	goesOn := err == nil && task.Status == tasks.Working && task.Lease.Holder == "" && !task.Lease.ExpiresAt.IsZero()
	if goesOn && e == nil && task.Service == in.service {
		// An earlier request took the last answer, and may not have come to its end: the
		// client repeats it if it got no answer.
		e, err = in.prepare(owner, task.Request)
	}
	if goesOn && e != nil {
		go e.goOn(id, false)
		return nil
	}
	if e != nil {
		e.end()
	}
	if err != nil {
		return in.wireError(methodUpdate, err)
	}
	return nil
}

// answerable reports whether the SDK can hand the answer to a handler.
func answerable(response json.RawMessage) bool {
	var m mcp.InputResponseMap
	return json.Unmarshal([]byte(`{"k":`+string(response)+`}`), &m) == nil
}

// checkName holds the Mcp-Name headers, if there are any, to the task's id.
func (t *Tasks) checkName(h http.Header, id string) error {
	names := h.Values(headerName)
	if h.Get(headerName) == "" && len(names) <= 1 {
		if t.opts.RequireNameHeader {
			return &jsonrpc.Error{Code: mcp.CodeHeaderMismatch, Message: "missing required Mcp-Name header"}
		}
		return nil
	}
	for _, name := range names {
		if decodeHeaderValue(name) != id {
			return &jsonrpc.Error{Code: mcp.CodeHeaderMismatch, Message: "the Mcp-Name header does not match params.taskId"}
		}
	}
	return nil
}
