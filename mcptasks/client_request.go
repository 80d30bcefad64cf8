package mcptasks

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// request makes a request about a task, and makes it again where it did not reach
// the server, as [ClientOptions].Retries says. Any of the three may arrive twice: a
// question is answered once, and what has ended stays as it is.
func (c *taskClient) request(ctx context.Context, session *mcp.ClientSession, method, id string, responses map[string]json.RawMessage, wait time.Duration) (*taskFields, error) {
	for failures := 0; ; failures++ {
		got, err := mcp.CallCustomMethod[*taskParams, *taskResult](ctx, session, method, paramsOf(id, responses))
		if err == nil {
			return &got.taskFields, nil
		}
		if !unreached(err) || failures >= c.opts.Retries {
			return nil, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, c.opts.MaxPollInterval)
	}
}

func paramsOf(id string, responses map[string]json.RawMessage) *taskParams {
	p := &taskParams{TaskID: mustMarshal(id)}
	if responses != nil {
		p.InputResponses = mustMarshal(responses)
	}
	return p
}

// codeRejected is the code of the *jsonrpc.Error with which the SDK's transports
// say that they did not deliver a request; the SDK does not export it. What else
// the error wraps tells why. It comes after the server's own error where there is
// one, so that errors.As finds that first.
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
	// A status that passes comes alone, anything else with its cause. Of causes only
	// a failed attempt lets try again: another is that of an authorization, for
	// which people would be asked again.
	var causes interface{ Unwrap() []error }
	var attempt *url.Error
	return !errors.As(err, &causes) || errors.As(err, &attempt)
}
