package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// cancelWait is how long a call of the cancel tool waits for the handler to end.
const cancelWait = 5 * time.Second

// fallbackTools are the three tools for plain clients, once the server has a tool with a
// fallback. They are tools like the server's own, so that all of its middleware sees their
// calls and may refuse them.
type fallbackTools struct {
	once  sync.Once
	tools atomic.Pointer[[]*mcp.Tool] // nil: not added yet
	shown atomic.Bool                 // a tool has a fallback
}

// has reports whether name is that of one of the three tools, whose calls are no tasks.
func (f *fallbackTools) has(name string) bool {
	ours := f.tools.Load()
	return ours != nil && slices.ContainsFunc(*ours, func(t *mcp.Tool) bool { return t.Name == name })
}

// toolArguments are those of the three tools.
type toolArguments struct {
	ID      string                     `json:"id"`
	Wait    *float64                   `json:"wait"` // seconds
	Answers map[string]json.RawMessage `json:"answers"`
}

// read decodes the arguments of a call. Its error names the wrong argument and quotes no
// value: models make up arguments.
func (a *toolArguments) read(arguments json.RawMessage) error {
	takes := map[string]string{
		"id": "the task's id, a string", "wait": "a number of seconds",
		"answers": "an object that has an object for each question, by its key",
	}
	var wrong *json.UnmarshalTypeError
	switch err := json.Unmarshal(arguments, a); {
	case errors.As(err, &wrong) && takes[wrong.Field] != "":
		return fmt.Errorf("the argument %q is of the wrong type: it must be %s", wrong.Field, takes[wrong.Field])
	case err != nil || a.ID == "":
		return fmt.Errorf("the argument %q is missing: it must be %s", "id", takes["id"])
	}
	return nil
}

// A toolCall is a call of one of the three tools about a task that a client may have.
type toolCall struct {
	toolArguments
	owner, stored string
	progress      *progress
}

func (in *installation) addFallbackTools() {
	in.fallback.once.Do(func() {
		o := &in.opts.Fallback
		yes, no := new(bool), new(bool)
		*yes = true
		id := map[string]any{"type": "string", "description": "the task's id, as an answer gave it"}
		wait := map[string]any{
			"type": "number", "minimum": 0, "maximum": o.Wait.Seconds(), "default": o.Wait.Seconds(),
			"description": "how many seconds to wait for the task to end or to ask something",
		}
		answer := map[string]any{
			"type": "object", "required": []string{"action"},
			"properties": map[string]any{
				"action":  map[string]any{"type": "string", "enum": []string{"accept", "decline", "cancel"}},
				"content": map[string]any{"type": "object", "description": "what the user says, by the question's schema; with accept"},
			},
		}
		all := []*mcp.Tool{{
			Name: o.StatusTool,
			Description: "Tells how a task stands that another tool has answered with, and returns that tool's result once there is one. " +
				"It waits for the task to end or to ask something, so call it again at once while the task works.",
			InputSchema: objectSchema(map[string]any{"id": id, "wait": wait}, "id"),
			Annotations: &mcp.ToolAnnotations{Title: "Task status", ReadOnlyHint: true, IdempotentHint: true, DestructiveHint: no, OpenWorldHint: no},
		}, {
			Name: o.AnswerTool,
			Description: "Answers the questions of a task whose status is input_required, with what the user says. " +
				"Then it waits for the task as " + o.StatusTool + " does.",
			InputSchema: objectSchema(map[string]any{"id": id, "answers": map[string]any{
				"type": "object", "additionalProperties": answer, "description": "an answer for each question, by its key",
			}}, "id", "answers"),
			// The tool may have asked whether to destroy something.
			Annotations: &mcp.ToolAnnotations{Title: "Answer a task", IdempotentHint: true, DestructiveHint: yes, OpenWorldHint: no},
		}, {
			Name:        o.CancelTool,
			Description: "Ends a task that has not ended. Its work so far is lost.",
			InputSchema: objectSchema(map[string]any{"id": id}, "id"),
			Annotations: &mcp.ToolAnnotations{Title: "Cancel a task", IdempotentHint: true, DestructiveHint: yes, OpenWorldHint: no},
		}}
		for i, do := range []func(context.Context, *toolCall) *mcp.CallToolResult{in.toolStatus, in.toolAnswer, in.toolCancel} {
			in.server.AddTool(all[i], in.fallbackTool(all[i].Name, do))
		}
		in.fallback.tools.Store(&all)
	})
}

func objectSchema(properties map[string]any, required ...string) map[string]any {
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// checkFallbackNames reports a tool of the server that has the name of a fallback tool.
func (in *installation) checkFallbackNames() error {
	ours := in.fallback.tools.Load()
	if ours == nil {
		return nil
	}
	in.toolsMu.RLock()
	defer in.toolsMu.RUnlock()
	for _, t := range *ours {
		if in.tools[t.Name] != nil {
			return fmt.Errorf("the server and the fallback both have a tool %q: rename the fallback's in Options.Fallback", t.Name)
		}
	}
	return nil
}

// fallbackTool is the handler of one of the three tools. For clients that do not see it
// there is no such tool.
func (in *installation) fallbackTool(name string, do func(context.Context, *toolCall) *mcp.CallToolResult) mcp.ToolHandler {
	unknown := &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("unknown tool %q", name)}
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if capable(req) {
			return nil, unknown
		}
		who, ok, err := in.plainTenant(ctx, req.Session)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, unknown
		}
		c := &toolCall{progress: newProgress(ctx, req)}
		defer c.progress.end()
		if err := c.read(req.Params.Arguments); err != nil {
			return refusal(codeArguments, err.Error(), "Call "+name+" again as its schema says."), nil
		}
		if c.owner, c.stored, ok = who.stored(c.ID); !ok {
			return unknownTask(), nil
		}
		return asOf(req.ProtocolVersion(), do(ctx, c)), nil
	}
}

func (in *installation) toolStatus(ctx context.Context, c *toolCall) *mcp.CallToolResult {
	wait := in.opts.Fallback.Wait
	if c.Wait != nil && *c.Wait < wait.Seconds() {
		wait = time.Duration(*c.Wait * float64(time.Second))
	}
	return in.toolResult(ctx, c, wait)
}

// toolResult waits for the task and says how it stands.
func (in *installation) toolResult(ctx context.Context, c *toolCall, wait time.Duration) *mcp.CallToolResult {
	t, err := in.settled(ctx, c.owner, c.stored, wait, c.progress)
	crowded := errors.Is(err, errCrowded)
	if err != nil && !crowded {
		return in.refusalOf(methodGet, err)
	}
	return in.answerOf(&t, "", crowded)
}

func (in *installation) toolAnswer(ctx context.Context, c *toolCall) *mcp.CallToolResult {
	t, err := in.store.Get(ctx, c.owner, c.stored)
	if err != nil {
		return in.refusalOf(methodUpdate, err)
	}
	answers, err := checkAnswers(&t, c.Answers)
	if err != nil {
		return refusal(codeAnswer, err.Error(), "Nothing was answered. Call "+in.opts.Fallback.AnswerTool+" again, with answers that fit.")
	}
	if len(answers) > 0 {
		if err := in.update(ctx, c.owner, c.stored, mustMarshal(answers)); err != nil {
			return in.refusalOf(methodUpdate, err)
		}
	}
	return in.toolResult(ctx, c, in.opts.Fallback.Wait)
}

func (in *installation) toolCancel(ctx context.Context, c *toolCall) *mcp.CallToolResult {
	t, err := in.store.Cancel(ctx, c.owner, c.stored)
	if err == nil && !t.Status.Terminal() {
		t, err = in.settled(ctx, c.owner, c.stored, min(cancelWait, in.opts.Fallback.Wait), c.progress)
	}
	crowded := errors.Is(err, errCrowded)
	if err != nil && !crowded {
		return in.refusalOf(methodCancel, err)
	}
	res := in.describe(&t, "", crowded)
	res.IsError = false // the caller asked for the cancel
	return res
}
