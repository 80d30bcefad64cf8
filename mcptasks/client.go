package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// ClientOptions adjusts a client. The zero value means the defaults.
type ClientOptions struct {
	// OnTask is called with every state of a task that CallTool sees, the first time
	// with the one it was created with. Keep the id to find the task again after a
	// restart. It is called by CallTool's goroutine.
	OnTask func(ctx context.Context, task ClientTask)
	// MinPollInterval and MaxPollInterval bound what the server suggests. Default
	// 50 ms and 30 s.
	MinPollInterval, MaxPollInterval time.Duration
	// Retries is how many times in a row asking for a task's state may fail to reach
	// the server before CallTool gives up. Default 5; negative: none.
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
// CallTool ends, the task is cancelled.
//
// Call it once for a client, before it connects, and let it connect through
// [RoundTripper] or [ClientTransport]: the SDK drops what tells a task from a
// result. Without one of them, a call that becomes a task gives an error.
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
		return c.await(ctx, session, task)
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
			return nil, errors.New("mcptasks: the server answered with a task; connect through RoundTripper or ClientTransport")
		}
	}
	return nil, nil
}

// await polls the task to its end.
func (c *taskClient) await(ctx context.Context, session *mcp.ClientSession, task *taskFields) (mcp.Result, error) {
	id := task.TaskID
	answered := make(map[string]bool)
	for {
		if c.opts.OnTask != nil {
			c.opts.OnTask(ctx, ClientTask{ID: id, Status: task.Status, StatusMessage: task.StatusMessage})
		}
		switch {
		case task.Status.Terminal():
			return final(task)
		case len(task.InputRequests) > 0:
			if err := c.answer(ctx, session, task, answered); err != nil {
				c.giveUp(ctx, session, id)
				return nil, err
			}
		}
		interval := time.Duration(task.PollIntervalMs) * time.Millisecond
		interval = min(max(interval, c.opts.MinPollInterval), c.opts.MaxPollInterval)
		var err error
		if task, err = c.poll(ctx, session, id, interval); err != nil {
			if ctx.Err() != nil {
				c.giveUp(ctx, session, id)
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("mcptasks: polling: %w", err)
		}
	}
}

// poll returns the task's state after interval, or after some more if the server
// cannot be reached.
func (c *taskClient) poll(ctx context.Context, session *mcp.ClientSession, id string, interval time.Duration) (*taskFields, error) {
	for failures := 0; ; failures++ {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		got, err := mcp.CallCustomMethod[*taskParams, *taskResult](ctx, session, methodGet, paramsOf(id, nil))
		if err == nil {
			return &got.taskFields, nil
		}
		var answer *jsonrpc.Error
		if errors.As(err, &answer) || errors.Is(err, mcp.ErrConnectionClosed) || failures >= c.opts.Retries {
			return nil, err
		}
	}
}

func paramsOf(id string, responses map[string]json.RawMessage) *taskParams {
	p := &taskParams{TaskID: mustMarshal(id)}
	if responses != nil {
		p.InputResponses = mustMarshal(responses)
	}
	return p
}

// final returns what the task ended with.
func final(task *taskFields) (mcp.Result, error) {
	switch task.Status {
	case tasks.Completed:
		res := new(mcp.CallToolResult)
		if err := json.Unmarshal(task.Result, res); err != nil {
			return nil, fmt.Errorf("mcptasks: the task's result: %w", err)
		}
		return res, nil
	case tasks.Failed:
		if task.Error == nil {
			return nil, internalError("the task failed")
		}
		return nil, &jsonrpc.Error{Code: task.Error.Code, Message: task.Error.Message, Data: task.Error.Data}
	}
	return nil, ErrCancelled
}

// answer has the client's handlers answer the questions that they have not.
func (c *taskClient) answer(ctx context.Context, session *mcp.ClientSession, task *taskFields, answered map[string]bool) error {
	responses := make(map[string]json.RawMessage)
	for key, raw := range task.InputRequests {
		if answered[key] {
			continue
		}
		var byKey mcp.InputRequestMap
		if err := json.Unmarshal(mustMarshal(map[string]json.RawMessage{key: raw}), &byKey); err != nil {
			return fmt.Errorf("mcptasks: a request for input: %w", err)
		}
		var res mcp.Result
		var err error
		switch p := byKey[key].(type) {
		case *mcp.ElicitParams:
			res, err = c.ask(ctx, "elicitation/create", &mcp.ElicitRequest{Session: session, Params: p})
		//lint:ignore SA1019 servers may still ask for it
		case *mcp.CreateMessageWithToolsParams:
			res, err = c.ask(ctx, "sampling/createMessage", &mcp.CreateMessageWithToolsRequest{Session: session, Params: p})
		//lint:ignore SA1019 servers may still ask for it
		case *mcp.ListRootsParams:
			//lint:ignore SA1019 as above
			res, err = c.ask(ctx, "roots/list", &mcp.ClientRequest[*mcp.ListRootsParams]{Session: session, Params: p})
		default:
			err = errors.New("of an unknown kind")
		}
		if err != nil {
			return fmt.Errorf("mcptasks: answering a request for input: %w", err)
		}
		if responses[key], err = json.Marshal(res); err != nil {
			return err
		}
	}
	if len(responses) == 0 {
		return nil
	}
	_, err := mcp.CallCustomMethod[*taskParams, *taskResult](ctx, session, methodUpdate, paramsOf(task.TaskID, responses))
	if err != nil {
		return fmt.Errorf("mcptasks: answering: %w", err)
	}
	for key := range responses {
		answered[key] = true
	}
	return nil
}

// giveUp cancels a task that nobody waits for any more.
func (c *taskClient) giveUp(ctx context.Context, session *mcp.ClientSession, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = mcp.CallCustomMethod[*taskParams, *taskResult](ctx, session, methodCancel, paramsOf(id, nil))
}
