package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// ClientOptions adjusts a client. The zero value means the defaults.
type ClientOptions struct {
	// OnTask is called with every state of a task that CallTool or [Await] sees, by
	// their goroutine; with CallTool the first time with the one it was created with.
	// Keep the id to go on with Await after a restart.
	OnTask func(ctx context.Context, task ClientTask)
	// MinPollInterval and MaxPollInterval bound what the server suggests. Default
	// 50 ms and 30 s.
	MinPollInterval, MaxPollInterval time.Duration
	// Retries is how many times in a row a request about a task may fail to reach the
	// server, or meet HTTP status 429, 500, 502, 503 or 504, before CallTool gives up.
	// Default 5; negative: none. The first time a poll interval, or a second where none is
	// known, lies between two attempts, and twice as long each time after, up to MaxPollInterval.
	//
	// That holds for asking for the state and for answers to requests for input; a
	// cancel is sent again too, sooner, and for 5 s at most. Where they arrive twice
	// they change nothing more. The call of the tool is sent once: a second one could
	// make a second task.
	//
	// What the server answers is no such failure, and neither is any other status:
	// with 401, 403 or 404 the SDK gives the session up.
	Retries int
}

// A ClientTask is a task as a client sees it.
type ClientTask struct {
	ID            string
	Status        tasks.Status
	StatusMessage string
}

// InstallClient makes the CallTool of client's sessions transparent for tasks: it
// declares the extension, and where the server answers with a task it polls as
// often as the server suggests, answers requests for input with the client's own
// handlers, and returns the task's result. A failed task gives its *[jsonrpc.Error]
// and a cancelled one an error that matches [ErrCancelled]. When the ctx of
// CallTool ends, or a handler fails, the task is cancelled. When the server can no
// longer be reached, see [ClientOptions].Retries, CallTool gives an error and the
// task goes on; [Await] finds it again.
//
// Call it once for a client, before it connects, and let it connect through
// [RoundTripper] or [ClientTransport]: the SDK drops what a task has beside a
// result, its id too. Without one of them, a call that becomes a task gives an
// error, and the task runs on to its end: without its id nobody can cancel it.
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
	if c.opts.Retries == 0 {
		c.opts.Retries = 5
	}
	for _, method := range []string{methodGet, methodUpdate, methodCancel} {
		if err := mcp.AddSendingCustomMethod[*taskParams, *taskResult](client, method); err != nil {
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
		case methodGet, methodUpdate, methodCancel:
			declare(req.GetParams())
			return next(ctx, method, req)
		case methodInstalled:
			return &installedClient{client: c}, nil
		case methodCall:
		default:
			return next(ctx, method, req)
		}
		asked, ok := req.GetParams().(*mcp.CallToolParams)
		session, isClient := req.GetSession().(*mcp.ClientSession)
		if !ok || !isClient {
			return next(ctx, method, req)
		}
		params := *asked // which stays the caller's
		declare(&params)
		res, err := next(ctx, method, &mcp.ClientRequest[mcp.Params]{Session: session, Params: &params})
		if err != nil {
			return res, err
		}
		task, err := createdTask(res)
		if err != nil || task == nil {
			return res, err
		}
		final, err := c.await(ctx, session, task)
		if err != nil {
			return nil, err // and not a nil pointer in an interface
		}
		return final, nil
	}
}

// declare adds the extension to the capabilities in the request's _meta. Requests
// of older protocols have none, and no tasks.
func declare(params mcp.Params) {
	meta := params.GetMeta()
	declared, ok := meta[mcp.MetaKeyClientCapabilities]
	if !ok {
		return
	}
	encoded, err := json.Marshal(declared)
	if err != nil {
		return
	}
	capabilities := make(map[string]any)
	if json.Unmarshal(encoded, &capabilities) != nil {
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
	changed := make(map[string]any, len(meta))
	for key, value := range meta {
		changed[key] = value
	}
	changed[mcp.MetaKeyClientCapabilities] = capabilities
	params.SetMeta(changed)
}

// createdTask returns the task that the transport found in the place of a result.
func createdTask(res mcp.Result) (*taskFields, error) {
	r, ok := res.(*mcp.CallToolResult)
	if !ok || r == nil {
		return nil, nil
	}
	if raw, ok := r.Meta[createdKey]; ok {
		encoded, err := json.Marshal(raw)
		if err != nil {
			return nil, err
		}
		var task taskFields
		if err := json.Unmarshal(encoded, &task); err != nil || task.TaskID == "" {
			return nil, errors.New("mcptasks: the server's task cannot be read")
		}
		return &task, nil
	}
	if len(r.Content) == 0 { // otherwise it is no task
		encoded, _ := json.Marshal(r)
		var kind struct {
			ResultType string `json:"resultType"`
		}
		if json.Unmarshal(encoded, &kind) == nil && kind.ResultType == "task" {
			return nil, errors.New("mcptasks: the server answered with a task, which runs on and whose id is lost; connect through RoundTripper or ClientTransport")
		}
	}
	return nil, nil
}
