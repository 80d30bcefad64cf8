package mcptasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// checkAnswers returns the answers to open questions, as tasks/update takes them. It
// leaves out the others: late and repeated ones do no harm. An answer that a model made
// up has to fit the question, as one from a client's form does.
func checkAnswers(t *tasks.Task, answers map[string]json.RawMessage) (map[string]*mcp.ElicitResult, error) {
	fitting := make(map[string]*mcp.ElicitResult)
	for _, key := range slices.Sorted(maps.Keys(answers)) {
		request, waits := t.InputRequests[key]
		if !waits {
			continue
		}
		q := questionOf(request)
		if q.Method != "" {
			return nil, fmt.Errorf("the question %q is one that only the client that called the tool can answer", key)
		}
		answer, err := answerTo(q, answers[key])
		if err != nil {
			return nil, fmt.Errorf("the answer to %q does not fit: %w", key, err)
		}
		fitting[key] = answer
	}
	return fitting, nil
}

// answerTo decodes the answer to a question.
func answerTo(q plainQuestion, raw json.RawMessage) (*mcp.ElicitResult, error) {
	var answer mcp.ElicitResult
	if json.Unmarshal(raw, &answer) != nil || !slices.Contains([]string{"accept", "decline", "cancel"}, answer.Action) {
		return nil, errors.New(`it must be an object with an action, "accept", "decline" or "cancel", and with "accept" the content`)
	}
	if answer.Action != "accept" {
		return &mcp.ElicitResult{Action: answer.Action}, nil
	}
	if len(q.Schema) == 0 {
		return &answer, nil
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(q.Schema, &schema); err != nil {
		return &answer, nil // the handler decides
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return &answer, nil
	}
	if answer.Content == nil {
		answer.Content = map[string]any{}
	}
	if err := resolved.ApplyDefaults(&answer.Content); err != nil {
		return nil, err
	}
	return &answer, resolved.Validate(answer.Content)
}
