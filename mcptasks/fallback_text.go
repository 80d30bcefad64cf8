package mcptasks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A plainTask is a task as plain clients see it, as structured content. The text says the
// same: many models see that alone.
type plainTask struct {
	ID          string                   `json:"id"`
	Status      tasks.Status             `json:"status"`
	Message     string                   `json:"message,omitempty"`
	PollAfterMs int64                    `json:"pollAfterMs,omitempty"` // of a task that has not ended
	ExpiresAt   string                   `json:"expiresAt,omitempty"`   // empty: it does not expire
	Questions   map[string]plainQuestion `json:"questions,omitempty"`
	Error       *errorFields             `json:"error,omitempty"`
	Next        string                   `json:"next"`
}

// A plainQuestion is an input request as plain clients see it.
type plainQuestion struct {
	Message string          `json:"message,omitempty"`
	Schema  json.RawMessage `json:"schema,omitempty"` // of the answer's content
	URL     string          `json:"url,omitempty"`    // that the user is to open
	// Method is a request that only a client with the extension can be asked.
	Method string `json:"method,omitempty"`
}

// questionOf decodes an input request as the store has it.
func questionOf(request json.RawMessage) (q plainQuestion) {
	var r struct {
		Method string `json:"method"`
		Params struct {
			Message         string          `json:"message"`
			RequestedSchema json.RawMessage `json:"requestedSchema"`
			URL             string          `json:"url"`
		} `json:"params"`
	}
	_ = json.Unmarshal(request, &r)
	if r.Method != methodElicit {
		return plainQuestion{Method: r.Method}
	}
	return plainQuestion{Message: r.Params.Message, Schema: r.Params.RequestedSchema, URL: r.Params.URL}
}

// answerOf returns the answer of a plain client about a task: the result of its tool, as
// it was, or the task's state. tool names the tool if the task may not; crowded says that
// the call did not wait.
func (in *installation) answerOf(t *tasks.Task, tool string, crowded bool) *mcp.CallToolResult {
	if t.Status == tasks.Completed {
		res, err := ownResult(t.Result)
		if err != nil {
			in.log.damaged(tool, "result")
			return refusal(codeInternal, "the result of the task cannot be read", "Nothing is left to do for it.")
		}
		return res
	}
	return in.describe(t, tool, crowded)
}

// describe returns the state of a task. A task that has ended without a result is an
// error.
func (in *installation) describe(t *tasks.Task, tool string, crowded bool) *mcp.CallToolResult {
	o := &in.opts.Fallback
	f := toWire(t)
	p := plainTask{ID: f.TaskID, Status: t.Status, Message: oneLine(f.StatusMessage)}
	if t.TTL > 0 {
		p.ExpiresAt = wireTime(t.CreatedAt.Add(t.TTL))
	}
	if call, err := savedCall(t.Request); err == nil {
		tool = call.Params.Name
	}
	about := func(more string, args ...any) string { // arguments of a call, as JSON
		return fmt.Sprintf(`{"id": %q`+more+`}`, append([]any{p.ID}, args...)...)
	}
	status := fmt.Sprintf("Call %s with %s", o.StatusTool, about(`, "wait": %s`, in.waitSeconds()))
	tool = oneLine(cmp.Or(tool, "The tool"))
	var says string
	switch t.Status {
	case tasks.Working:
		says = tool + " has not ended yet. It goes on as a task."
		p.Next = status + ". It answers when the task has ended or asks something, and at the latest after that many seconds. Do not call " + tool + " again."
		if t.CancelRequested {
			says = tool + " was told to end. It has not ended yet."
		}
		if crowded {
			p.Next = "Too many calls wait for tasks already, so this one did not wait: let pollAfterMs pass first. " + p.Next
		}
	case tasks.InputRequired:
		says = tool + " asks something. Its task waits for the answers."
		p.Questions = make(map[string]plainQuestion, len(t.InputRequests))
		answers := make(map[string]json.RawMessage, len(t.InputRequests))
		for key, request := range t.InputRequests {
			p.Questions[key] = questionOf(request)
			if p.Questions[key].Method == "" {
				answers[key] = json.RawMessage(`{"action": "accept", "content": {}}`)
			}
		}
		p.Next = fmt.Sprintf("Ask the user. Then call %s with %s, each content by the question's schema. "+
			`Where the user says no, the action is "decline"; "cancel" is for no answer.`, o.AnswerTool, about(`, "answers": %s`, mustMarshal(answers)))
		if len(answers) == 0 {
			p.Next = "Only the client that called the tool can answer. " + status + " when it has, or call " + o.CancelTool + " with " + about("") + "."
		}
	case tasks.Completed: // in spite of a cancel
		says = tool + " has ended with a result."
		p.Next = status + " for the result."
	case tasks.Failed:
		says = tool + " has failed: there is no result."
		p.Error = toWireDetailed(t).Error
		p.Next = "Nothing is left to do for this task."
	case tasks.Cancelled:
		says = tool + " was cancelled: there is no result."
		p.Next = "Nothing is left to do for this task."
	}
	if !t.Status.Terminal() {
		p.PollAfterMs = f.PollIntervalMs
	}
	return &mcp.CallToolResult{
		Content:           []mcp.Content{&mcp.TextContent{Text: says + "\n" + p.text()}},
		StructuredContent: &p,
		IsError:           t.Status == tasks.Failed || t.Status == tasks.Cancelled,
	}
}

// text is the structured content in words, a line for each field.
func (p *plainTask) text() string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s: %v\n", name, value) }
	line("id", p.ID)
	line("status", p.Status)
	if p.Message != "" {
		line("message", p.Message)
	}
	if p.Error != nil {
		line("error", p.Error.Code)
	}
	if p.PollAfterMs > 0 {
		line("pollAfterMs", p.PollAfterMs)
	}
	if p.ExpiresAt != "" {
		line("expiresAt", p.ExpiresAt)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Questions)) {
		q := p.Questions[key]
		line(fmt.Sprintf("question %q", key), cmp.Or(oneLine(q.Message), q.Method))
		if q.URL != "" {
			line("  the user opens", oneLine(q.URL))
		}
		if len(q.Schema) > 0 {
			line("  schema", oneLine(string(q.Schema)))
		}
	}
	fmt.Fprintf(&b, "next: %s", p.Next)
	return b.String()
}

// oneLine keeps a tool's text from passing for a line of ours.
func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isBreak), " ") }

// isBreak reports whether some program takes r for the end of a line: Unicode has all of
// these, Python splits lines at each.
func isBreak(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}
