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

// A ClientTask is a task as a client sees it.
type ClientTask struct {
	ID            string
	Status        tasks.Status
	StatusMessage string
	// PollInterval is how long to wait before the next look: the interval that the server
	// suggests, or zero if it suggests none.
	PollInterval time.Duration
	// InputRequests are the questions that are open, as the server sent them, by key.
	InputRequests map[string]json.RawMessage
}

func (s *taskState) seen(id string) ClientTask {
	return ClientTask{
		ID: id, Status: s.status, StatusMessage: s.statusMessage, PollInterval: s.pollInterval, InputRequests: s.questions,
	}
}

// StartTool calls a tool and does not wait for its task: it returns the task as it was
// created, or nil and the result if the call did not become one. The task goes on if ctx
// ends later; use the id with [GetTask], [AnswerTask], [CancelTask] and [Await].
//
// When ctx ends before there is an answer, a task that the call becomes is cancelled, as
// with CallTool; see [InstallClient], which the session's client needs.
func StartTool(ctx context.Context, session *mcp.ClientSession, params *mcp.CallToolParams) (*ClientTask, *mcp.CallToolResult, error) {
	if _, err := installed(ctx, session); err != nil {
		return nil, nil, err
	}
	started := new(startedTask)
	res, err := session.CallTool(context.WithValue(ctx, startedKey{}, started), params)
	switch {
	case err != nil:
		return nil, nil, err
	case started.task == nil:
		return nil, res, nil
	}
	task := started.task.seen(started.task.id)
	return &task, nil, nil
}

type startedKey struct{}

// A startedTask receives the task of a call for StartTool.
type startedTask struct{ task *taskState }

// GetTask returns the state of the task with this id; its outcome is for [Await]. A task
// that the server does not know gives [ErrNotFound]. It retries as
// [ClientOptions].RetryFor says.
func GetTask(ctx context.Context, session *mcp.ClientSession, taskID string) (*ClientTask, error) {
	c, err := installedOn(ctx, session, taskID)
	if err != nil {
		return nil, err
	}
	state, _, err := c.get(ctx, session, taskID, time.Second)
	if err != nil {
		return nil, err
	}
	task := state.seen(taskID)
	return &task, nil
}

// AnswerTask answers questions of the task with this id, by the keys of
// ClientTask.InputRequests: with an [mcp.ElicitResult], say, or any value that encodes to
// the result that the question's kind wants. The server ignores answers to questions that
// are not open, and goes on once all are answered. A task that the server does not know
// gives [ErrNotFound]. It retries as [ClientOptions].RetryFor says.
func AnswerTask(ctx context.Context, session *mcp.ClientSession, taskID string, answers map[string]any) error {
	c, err := installedOn(ctx, session, taskID)
	if err != nil {
		return err
	}
	if len(answers) == 0 {
		return errors.New("mcptasks: the answers are empty; give at least one, by its question's key")
	}
	responses := make(map[string]json.RawMessage)
	for key, answer := range answers {
		if responses[key], err = json.Marshal(answer); err != nil {
			return fmt.Errorf("mcptasks: an answer: %w", err)
		}
	}
	return c.update(ctx, session, taskID, responses)
}

// CancelTask asks the server to cancel the task with this id. The task may go on for a
// while, and may still end otherwise: [Await] tells. A task that has ended stays as it
// is, without an error; one that the server does not know gives [ErrNotFound]. It retries
// as [ClientOptions].RetryFor says.
func CancelTask(ctx context.Context, session *mcp.ClientSession, taskID string) error {
	c, err := installedOn(ctx, session, taskID)
	if err != nil {
		return err
	}
	_, err = c.request(ctx, session, paramsOf(taskID, nil), methodCancel, time.Second)
	if hasCode(err, jsonrpc.CodeInvalidParams) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// The middleware of InstallClient answers methodInstalled; it is not sent.
const methodInstalled = "github.com/taskstore/taskstore/mcptasks/installed"

// An installedClient leads from a session to its InstallClient.
type installedClient struct {
	mcp.ResultBase
	client *taskClient
}

func installed(ctx context.Context, session *mcp.ClientSession) (*taskClient, error) {
	in, err := mcp.CallCustomMethod[*taskParams, *installedClient](ctx, session, methodInstalled, &taskParams{})
	if err != nil {
		return nil, fmt.Errorf("mcptasks: call InstallClient for the session's client: %w", err)
	}
	return in.client, nil
}

func installedOn(ctx context.Context, session *mcp.ClientSession, taskID string) (*taskClient, error) {
	if taskID == "" {
		return nil, errors.New("mcptasks: the id of the task is empty")
	}
	return installed(ctx, session)
}
