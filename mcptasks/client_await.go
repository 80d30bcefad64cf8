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

// methodInstalled is answered by the middleware of InstallClient and never sent.
const methodInstalled = "github.com/taskstore/taskstore/mcptasks/installed"

// An installedClient is how Await gets from a session to what InstallClient made.
type installedClient struct {
	mcp.ResultBase
	client *taskClient
}

// Await returns what the task with this id ends with, as the CallTool that made it
// would: after a restart, say, on another session, of any client that is the same
// user and for which [InstallClient] was called, with that client's options and
// handlers. It works as often as one likes until the task's retention is over. An
// id that is nobody's, or somebody else's, gives a *[jsonrpc.Error] with code
// -32602. When ctx ends, the task is cancelled.
func Await(ctx context.Context, session *mcp.ClientSession, taskID string) (*mcp.CallToolResult, error) {
	installed, err := mcp.CallCustomMethod[*taskParams, *installedClient](ctx, session, methodInstalled, &taskParams{})
	if err != nil {
		return nil, fmt.Errorf("mcptasks: Await needs InstallClient to have been called for the session's client: %w", err)
	}
	task, err := installed.client.poll(ctx, session, taskID, 0)
	if err != nil {
		return nil, err
	}
	return installed.client.await(ctx, session, task)
}

// await polls the task to its end.
func (c *taskClient) await(ctx context.Context, session *mcp.ClientSession, task *taskFields) (*mcp.CallToolResult, error) {
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
				return nil, err
			}
		}
		var err error
		if task, err = c.poll(ctx, session, id, c.interval(task)); err != nil {
			return nil, err
		}
	}
}

// interval returns how long to wait before the task is looked at again.
func (c *taskClient) interval(task *taskFields) time.Duration {
	suggested := time.Duration(task.PollIntervalMs) * time.Millisecond
	return min(max(suggested, c.opts.MinPollInterval), c.opts.MaxPollInterval)
}

// poll returns the task's state after interval. With 0, where none is known, a
// second lies before the first repetition.
func (c *taskClient) poll(ctx context.Context, session *mcp.ClientSession, id string, interval time.Duration) (task *taskFields, err error) {
	if err = pause(ctx, interval); err == nil {
		wait := interval
		if wait == 0 {
			wait = time.Second
		}
		task, err = c.request(ctx, session, methodGet, id, nil, min(max(wait, c.opts.MinPollInterval), c.opts.MaxPollInterval))
	}
	switch {
	case err == nil:
		return task, nil
	case ctx.Err() != nil:
		c.giveUp(ctx, session, id)
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("mcptasks: polling: %w", err)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// final returns what the task ended with.
func final(task *taskFields) (*mcp.CallToolResult, error) {
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

// answer sends answers to the questions that have none.
func (c *taskClient) answer(ctx context.Context, session *mcp.ClientSession, task *taskFields, answered map[string]bool) error {
	responses, err := c.responses(ctx, session, task, answered)
	if err == nil && len(responses) == 0 {
		return nil
	}
	if err == nil {
		if _, err = c.request(ctx, session, methodUpdate, task.TaskID, responses, c.interval(task)); err == nil {
			for key := range responses {
				answered[key] = true
			}
			return nil
		}
		err = fmt.Errorf("mcptasks: answering: %w", err)
		if ctx.Err() == nil && unreached(err) {
			return err // another answer may get through
		}
	}
	c.giveUp(ctx, session, task.TaskID)
	return err
}

// responses has the client's handlers answer the questions that have no answer.
func (c *taskClient) responses(ctx context.Context, session *mcp.ClientSession, task *taskFields, answered map[string]bool) (map[string]json.RawMessage, error) {
	responses := make(map[string]json.RawMessage)
	for key, raw := range task.InputRequests {
		if answered[key] {
			continue
		}
		var byKey mcp.InputRequestMap
		if err := json.Unmarshal(mustMarshal(map[string]json.RawMessage{key: raw}), &byKey); err != nil {
			return nil, fmt.Errorf("mcptasks: a request for input: %w", err)
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
			return nil, fmt.Errorf("mcptasks: answering a request for input: %w", err)
		}
		if responses[key], err = json.Marshal(res); err != nil {
			return nil, err
		}
	}
	return responses, nil
}

// giveUp cancels a task that nobody waits for any more.
func (c *taskClient) giveUp(ctx context.Context, session *mcp.ClientSession, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = c.request(ctx, session, methodCancel, id, nil, c.opts.MinPollInterval)
}
