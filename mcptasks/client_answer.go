package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

const (
	// maxRounds bounds how often one task may ask, as the SDK bounds it for calls that
	// do not become tasks.
	maxRounds = 10
	// maxQuestions bounds the questions that it may ask at a time.
	maxQuestions = 16
)

// A question is a request for input that a handler is at work on.
type question struct {
	key    string
	batch  *batch
	cancel context.CancelCauseFunc
}

// A batch are the questions that came together. Their answers go together.
type batch struct {
	left      int
	responses map[string]json.RawMessage
}

type answer struct {
	*question
	response json.RawMessage
	err      error
}

// A handlerError says that a handler of the client failed.
type handlerError struct{ error }

func (e *handlerError) Unwrap() error { return e.error }

// questions closes the questions that are no longer asked, and has handlers answer
// those that are new.
func (w *wait) questions(task *taskState) error {
	asked := task.questions
	if task.status != tasks.InputRequired {
		asked = nil
	} else if task.unreadable {
		return invalid("requests for input that cannot be read")
	}
	for key, q := range w.open {
		if raw, ok := asked[key]; !ok || string(raw) != w.asked[key] {
			q.cancel(ErrQuestionClosed)
			delete(w.open, key)
			w.done(q, nil)
		}
	}
	var fresh []string
	for _, key := range slices.Sorted(maps.Keys(asked)) {
		if old, ok := w.asked[key]; !ok || old != string(asked[key]) {
			fresh = append(fresh, key)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if w.rounds++; w.rounds > maxRounds {
		return fmt.Errorf("it has asked for input more than %d times", maxRounds)
	}
	if len(fresh) > maxQuestions {
		return fmt.Errorf("it asks for more than %d inputs at a time", maxQuestions)
	}
	var handlers []func(context.Context) (mcp.Result, error)
	for _, key := range fresh {
		h, err := w.handler(asked[key])
		if err != nil {
			return err
		}
		handlers = append(handlers, h)
	}
	r := &batch{left: len(fresh), responses: make(map[string]json.RawMessage)}
	for i, key := range fresh {
		ctx, cancel := context.WithCancelCause(w.forms)
		q := &question{key: key, batch: r, cancel: cancel}
		w.open[key], w.asked[key] = q, string(asked[key])
		go w.run(ctx, q, handlers[i])
	}
	return nil
}

// run has a handler answer. The task may go on meanwhile without the answer, and
// the wait end.
func (w *wait) run(ctx context.Context, q *question, h func(context.Context) (mcp.Result, error)) {
	defer q.cancel(nil)
	a := answer{question: q}
	a.err = guarded(func() error {
		res, err := h(ctx)
		if err == nil {
			a.response, err = json.Marshal(res)
		}
		return err
	})
	select {
	case w.answers <- a:
	case <-w.forms.Done():
	}
}

// take takes a handler's answer, unless its question is closed.
func (w *wait) take(a answer) error {
	if w.open[a.key] != a.question {
		return nil
	}
	delete(w.open, a.key)
	if a.err != nil {
		return &handlerError{fmt.Errorf("answering a request for input: %w", a.err)}
	}
	w.done(a.question, a.response)
	return nil
}

// done counts a question as answered, or with nil as closed.
func (w *wait) done(q *question, response json.RawMessage) {
	r := q.batch
	if r.left--; response != nil {
		r.responses[q.key] = response
	}
	if r.left > 0 || len(r.responses) == 0 {
		return
	}
	if w.unsent == nil {
		w.unsent = r
		return
	}
	maps.Copy(w.unsent.responses, r.responses)
}

// send sends the answers of whole batches. The task goes on if the server refuses one:
// another client may have answered, or will.
func (w *wait) send(ctx context.Context) (sent bool, err error) {
	if w.unsent == nil {
		return false, nil
	}
	responses := w.unsent.responses
	w.unsent = nil
	refused := w.update(ctx, w.session, w.id, responses)
	var wire *jsonrpc.Error
	if refused == nil || !errors.As(refused, &wire) || wire.Code == codeRejected ||
		errors.Is(refused, ErrUnavailable) || errors.Is(refused, ErrNotFound) || ctx.Err() != nil {
		return true, refused
	}
	task, _, err := w.get(ctx, w.session, w.id, w.opts.MinPollInterval)
	if err != nil {
		return false, err
	}
	for key := range responses {
		if raw, ok := task.questions[key]; ok && string(raw) == w.asked[key] && task.status == tasks.InputRequired {
			return false, fmt.Errorf("the server refused an answer: %w", refused)
		}
	}
	return true, nil
}

// handler returns the handler that answers a question, or an error if this client has no
// such handler.
func (w *wait) handler(raw json.RawMessage) (func(context.Context) (mcp.Result, error), error) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	kind := textOf(fields["method"])
	if kind == "" {
		return nil, invalid("a request for input without a method")
	}
	var byKey mcp.InputRequestMap
	if capability := kinds[kind]; capability == "" {
		return nil, fmt.Errorf("it asks by %q, a method unknown to this client", kind)
	} else if w.capabilities[capability] == nil {
		return nil, fmt.Errorf("it asks by %q, and this client has not declared %s", kind, capability)
	}
	if params := fields["params"]; kind == "roots/list" && (params == nil || string(params) == "null") {
		fields["params"] = json.RawMessage("{}") // they may be left out, which the SDK cannot read
	}
	err := guarded(func() error {
		return json.Unmarshal(mustMarshal(map[string]any{"": fields}), &byKey)
	})
	if err != nil {
		return nil, invalid("a request for input: %w", err)
	}
	switch p := byKey[""].(type) {
	case *mcp.ElicitParams:
		if modes, _ := w.capabilities["elicitation"].(map[string]any); p.Mode == "url" && modes["url"] == nil {
			return nil, fmt.Errorf("it asks by %q with mode url, and this client has not declared that mode", kind)
		}
		return func(ctx context.Context) (mcp.Result, error) {
			return w.ask(ctx, kind, &mcp.ElicitRequest{Session: w.session, Params: p})
		}, nil
	//lint:ignore SA1019 servers may still ask for it
	case *mcp.CreateMessageWithToolsParams:
		return func(ctx context.Context) (mcp.Result, error) {
			return w.ask(ctx, kind, &mcp.CreateMessageWithToolsRequest{Session: w.session, Params: p})
		}, nil
	//lint:ignore SA1019 servers may still ask for it
	case *mcp.ListRootsParams:
		return func(ctx context.Context) (mcp.Result, error) {
			//lint:ignore SA1019 as above
			return w.ask(ctx, kind, &mcp.ClientRequest[*mcp.ListRootsParams]{Session: w.session, Params: p})
		}, nil
	}
	return nil, fmt.Errorf("it asks by %q, a method unknown to this client", kind)
}

// kinds are the methods that requests for input may have, and the capabilities
// that allow them.
var kinds = map[string]string{
	"elicitation/create":     "elicitation",
	"sampling/createMessage": "sampling",
	"roots/list":             "roots",
}

// guarded returns the error of f, or the value of its panic as an error: the SDK's
// decoders panic for null in the place of an object.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}
