package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// requestTimeout bounds one attempt of a request about a task.
	requestTimeout = 30 * time.Second
	// maxBackoff bounds the backoff that the client chooses itself.
	maxBackoff = 5 * time.Second
	// maxRequested bounds each wait that a server asks for, and the sum of such waits
	// that does not count as time away.
	maxRequested = 10 * time.Minute
	// cancelTimeout bounds the cancel of a task whose caller has gone.
	cancelTimeout = 5 * time.Second
)

// The server takes one answer to a question, and a task that has ended stays as it is: so
// each of the three requests about a task may be retried, as [ClientOptions].RetryFor
// says.
func (c *taskClient) request(ctx context.Context, session *mcp.ClientSession, params *taskParams, method string, backoff time.Duration) (*taskState, error) {
	backoff = max(min(backoff, time.Second), c.opts.MinPollInterval)
	var first time.Time         // of the failures in a row
	var requested time.Duration // of the time since
	for {
		x := &exchange{method: method}
		state, err := attempt(ctx, session, x, params)
		switch {
		case err == nil:
			return state, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		wait, again := retries(x, err)
		if _, refusal := x.hints(); refusal != nil && hasCode(err, codeRejected) {
			err = fmt.Errorf("%w: %w", refusal, err) // the SDK has dropped it
		}
		if !again {
			return nil, err
		}
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		left := c.opts.RetryFor - now.Sub(first) + min(requested, maxRequested)
		switch {
		case left <= 0:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case wait > 0:
			wait = max(min(wait, maxRequested), c.opts.MinPollInterval)
			requested += wait
		default:
			wait = max(min(backoff, c.opts.MaxPollInterval, left), c.opts.MinPollInterval)
			backoff = min(2*backoff, maxBackoff)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// attempt sends a request once.
func attempt(ctx context.Context, session *mcp.ClientSession, x *exchange, params *taskParams) (*taskState, error) {
	defer x.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Over HTTP, RoundTripper has the bound.
	timer := time.AfterFunc(requestTimeout, func() {
		if !x.overHTTP() {
			cancel(errNoAnswer)
		}
	})
	defer timer.Stop()
	state, err := mcp.CallCustomMethod[*taskParams, *taskState](x.in(ctx), session, x.method, params)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return nil, errNoAnswer
	}
	return state, err
}

var errNoAnswer = fmt.Errorf("no answer within %v", requestTimeout)

// retries reports whether a request that gave err is worth another attempt, and after
// which time, if the server has said one.
func retries(x *exchange, err error) (time.Duration, bool) {
	wait, refusal := x.hints()
	answer := refusal
	if answer == nil {
		errors.As(err, &answer)
	}
	var data map[string]json.RawMessage
	if answer != nil {
		_ = json.Unmarshal(answer.Data, &data)
	}
	if ms := milliseconds(data["retryAfterMs"]); ms > 0 {
		wait = ms
	}
	return wait, string(data["retryable"]) == "true" || unreached(err)
}

func paramsOf(id string, responses map[string]json.RawMessage) *taskParams {
	p := &taskParams{TaskID: mustMarshal(id)}
	if responses != nil {
		p.InputResponses = mustMarshal(responses)
	}
	return p
}

// get returns the state of a task.
func (c *taskClient) get(ctx context.Context, session *mcp.ClientSession, id string, backoff time.Duration) (*taskState, map[string]any, error) {
	params := paramsOf(id, nil)
	state, err := c.request(ctx, session, params, methodGet, backoff)
	switch {
	case hasCode(err, jsonrpc.CodeInvalidParams): // the id is the only parameter
		return nil, nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return nil, nil, err
	case state.status == "":
		return nil, nil, invalid("a task without a status")
	}
	state.id = id
	return state, capabilitiesOf(params), nil
}

// update answers questions. With code -32602 the server may mean the answer or the
// task: tasks/get tells which.
func (c *taskClient) update(ctx context.Context, session *mcp.ClientSession, id string, responses map[string]json.RawMessage) error {
	_, err := c.request(ctx, session, paramsOf(id, responses), methodUpdate, time.Second)
	if hasCode(err, jsonrpc.CodeInvalidParams) {
		if _, _, lost := c.get(ctx, session, id, time.Second); errors.Is(lost, ErrNotFound) {
			return lost
		}
	}
	return err
}

// cancel cancels a task on behalf of a caller that has gone. A task that is gone counts
// as cancelled.
func (c *taskClient) cancel(ctx context.Context, session *mcp.ClientSession, id string) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	_, err := c.request(ctx, session, paramsOf(id, nil), methodCancel, c.opts.MinPollInterval)
	if hasCode(err, jsonrpc.CodeInvalidParams) {
		return nil
	}
	return err
}

func hasCode(err error, code int64) bool {
	var answer *jsonrpc.Error
	return errors.As(err, &answer) && answer.Code == code
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// codeRejected is the code of the *jsonrpc.Error with which the SDK's transports say that
// they did not deliver a request; the SDK does not export it. The cause is wrapped beside
// it. The server's own error, if there is one, comes first, so that errors.As finds it
// first.
const codeRejected = -32005

// unreached reports whether err says that a request did not reach the server, or
// that its answer was lost, and that the session goes on.
func unreached(err error) bool {
	var answer *jsonrpc.Error
	switch {
	case errors.Is(err, mcp.ErrConnectionClosed):
		return false
	case !errors.As(err, &answer):
		return true
	case answer.Code != codeRejected:
		return false
	}
	// A temporary HTTP status comes without a cause. With a cause, only a failed attempt
	// is retried: the cause may be a failed authorization, and a retry would ask people
	// again.
	var causes interface{ Unwrap() []error }
	var attempt *url.Error
	return !errors.As(err, &causes) || errors.As(err, &attempt)
}
