package mcptasks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ClientOptions adjusts a client. The zero value means the defaults.
type ClientOptions struct {
	// OnTask is called with every state of a task that CallTool or [Await] sees, by
	// their goroutine; with CallTool the first time with the one it was created with.
	// Keep the id to go on with Await after a restart.
	OnTask func(ctx context.Context, task ClientTask)
	// MinPollInterval and MaxPollInterval bound the interval that the server suggests,
	// and the second that stands for no suggestion. Default 50 ms and 30 s.
	MinPollInterval, MaxPollInterval time.Duration
	// RetryFor is how long the client retries requests about a task while its server is
	// away. It retries a request that does not reach the server, gets no answer within 30
	// s, or meets HTTP status 429, 500, 502, 503 or 504, or an error whose data says
	// "retryable", until one attempt gets through or this time has passed since the first
	// failure. Default 30 s; negative: one attempt.
	//
	// Between two attempts lies a backoff, from a poll interval or a second to 5 s. If
	// the server says when to come back, by Retry-After or "retryAfterMs" in the error's
	// data, the client asks again then and not earlier. Up to 10 minutes of such waits do
	// not count as time away.
	//
	// The client sends the call of the tool once: a second one could make a second task.
	// It retries a cancel on behalf of a caller that gave up for at most 5 s. It does not
	// retry after other answers, nor after HTTP status 401, 403 or 404.
	RetryFor time.Duration
	// LeaveTasks leaves a task alone when the ctx of its CallTool ends, or a handler
	// fails, instead of cancelling it. A task that OnTask has not reported yet is
	// cancelled all the same, since the caller does not have its id.
	LeaveTasks bool
}

// InstallClient makes the CallTool of client's sessions transparent for tasks: it
// declares the extension, and if the server answers with a task it polls as often as the
// server suggests, answers requests for input with the client's own handlers, and returns
// the task's result. A failed task gives its *[jsonrpc.Error] and a cancelled one an
// error that matches [ErrCancelled].
//
// When the ctx of CallTool ends, or a handler fails, CallTool cancels the task; see
// [ClientOptions].LeaveTasks. If ctx ends before the server has answered with a task,
// CallTool returns at once, and the client waits in the background for up to 3 seconds
// for the answer, to cancel its task. Whenever CallTool returns while the task goes on,
// the error is a *[LeftError], which has the task's id: the server was away for too long,
// say, or asks for input that this client cannot give.
//
// Handlers may run at the same time, for questions that are asked together. The ctx of a
// handler ends with its question, see [ErrQuestionClosed]; CallTool does not wait for a
// handler that goes on. One task may ask up to 10 times, up to 16 questions at a time.
// Receiving middleware sees these questions if it was added before InstallClient.
//
// Call it once for a client, before it connects, and let it connect through
// [RoundTripper] or [ClientTransport]: the SDK drops the fields that a task has beside a
// result, its id too. Without one of them, a call that becomes a task gives an error, and
// the task runs on to its end: it cannot be cancelled without its id.
func InstallClient(client *mcp.Client, opts *ClientOptions) error {
	c := &taskClient{}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.MinPollInterval <= 0 {
		c.opts.MinPollInterval = 50 * time.Millisecond
	}
	if c.opts.MaxPollInterval <= 0 {
		c.opts.MaxPollInterval = 30 * time.Second
	}
	if c.opts.RetryFor == 0 {
		c.opts.RetryFor = 30 * time.Second
	}
	for _, method := range []string{methodGet, methodUpdate, methodCancel} {
		if err := mcp.AddSendingCustomMethod[*taskParams, *taskState](client, method); err != nil {
			return err
		}
	}
	if err := mcp.AddSendingCustomMethod[*taskParams, *installedClient](client, methodInstalled); err != nil {
		return err
	}
	client.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		c.ask = next // how the client answers the server
		return next
	})
	client.AddSendingMiddleware(c.middleware)
	return nil
}

type taskClient struct {
	opts ClientOptions
	ask  mcp.MethodHandler
}

func (c *taskClient) middleware(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		switch method {
		case methodInstalled:
			return &installedClient{client: c}, nil
		case methodGet, methodUpdate, methodCancel:
			declare(req.GetParams())
			if x := exchangeOf(ctx); x != nil && x.method == method {
				return next(ctx, method, req) // it is one of request
			}
		case methodCall:
			params, ok := req.GetParams().(*mcp.CallToolParams)
			session, isClient := req.GetSession().(*mcp.ClientSession)
			if ok && isClient {
				res, err := c.call(ctx, next, session, params)
				if err != nil {
					return nil, err // and not a nil pointer in an interface
				}
				return res, nil
			}
		}
		x := &exchange{method: method}
		defer x.end()
		res, err := next(x.in(ctx), method, req)
		if _, invalid := x.answer(); invalid != nil {
			return nil, invalid
		}
		return res, err
	}
}

// call calls a tool, and waits for its task if there is one.
func (c *taskClient) call(ctx context.Context, next mcp.MethodHandler, session *mcp.ClientSession, params *mcp.CallToolParams) (*mcp.CallToolResult, error) {
	own := *params // which stays the caller's
	declare(&own)
	x := &exchange{method: methodCall}
	res, err := next(x.in(ctx), methodCall, &mcp.ClientRequest[mcp.Params]{Session: session, Params: &own})
	if err != nil && (ctx.Err() != nil || x.pending() != nil) { // or the http.Client has a Timeout
		go c.abandon(ctx, session, x)
		return nil, err
	}
	defer x.end()
	task, wrong := x.answer()
	switch {
	case wrong != nil:
		return nil, wrong
	case task != nil && task.id == "":
		return nil, invalid("a task without an id")
	case task != nil && err != nil:
		return nil, &LeftError{ID: task.id, Err: err}
	case err != nil:
		return nil, err
	case task == nil:
		return ordinary(res)
	}
	if started, ok := ctx.Value(startedKey{}).(*startedTask); ok {
		started.task = task
		return &mcp.CallToolResult{}, nil
	}
	w := &wait{taskClient: c, session: session, id: task.id, cancels: !c.opts.LeaveTasks}
	return w.begin(ctx, task)
}

// abandon waits a while for the answer to a call whose caller has gone, and cancels the
// task that it is.
func (c *taskClient) abandon(ctx context.Context, session *mcp.ClientSession, x *exchange) {
	defer x.end()
	if answered := x.pending(); answered != nil {
		select {
		case <-answered:
		case <-time.After(linger):
		}
	}
	if task, _ := x.answer(); task != nil && task.id != "" {
		_ = c.cancel(ctx, session, task.id)
	}
}

// ordinary returns the result of a call that did not become a task.
func ordinary(res mcp.Result) (*mcp.CallToolResult, error) {
	r, ok := res.(*mcp.CallToolResult)
	if !ok || r == nil {
		return nil, invalid("no result of a tool")
	}
	if len(r.Content) == 0 { // otherwise it is no task
		encoded, _ := json.Marshal(r)
		var fields map[string]json.RawMessage
		if json.Unmarshal(encoded, &fields) == nil && textOf(fields["resultType"]) == "task" {
			return nil, fmt.Errorf("mcptasks: the server answered with a task, and its id is lost while it runs on; connect through RoundTripper or ClientTransport")
		}
	}
	return r, nil
}

// declare adds the extension to the capabilities in the request's _meta. Requests of
// older protocols have neither _meta capabilities nor tasks.
func declare(params mcp.Params) {
	meta := params.GetMeta()
	if _, ok := meta[mcp.MetaKeyClientCapabilities]; !ok {
		return
	}
	capabilities := capabilitiesOf(params)
	if capabilities == nil {
		return
	}
	extensions, ok := capabilities["extensions"].(map[string]any)
	if !ok {
		extensions = make(map[string]any)
		capabilities["extensions"] = extensions
	}
	if extensions[ExtensionID] == nil {
		extensions[ExtensionID] = map[string]any{}
	}
	changed := maps.Clone(meta)
	changed[mcp.MetaKeyClientCapabilities] = capabilities
	params.SetMeta(changed)
}

// capabilitiesOf returns a copy of the capabilities in the request's _meta, or nil.
func capabilitiesOf(params mcp.Params) map[string]any {
	encoded, err := json.Marshal(params.GetMeta()[mcp.MetaKeyClientCapabilities])
	if err != nil {
		return nil
	}
	var capabilities map[string]any
	if json.Unmarshal(encoded, &capabilities) != nil {
		return nil
	}
	return capabilities
}
