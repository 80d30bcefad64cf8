package mcptasks

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// An exchange is a request of the client and its answer, as the transport sees them. It
// travels in the request's ctx, through the SDK, which would drop the fields that a task
// has beside a result, and a refusal's Retry-After.
type exchange struct {
	method string

	mu       sync.Mutex
	answered chan struct{} // closed with the answer, or when it can no longer come; nil before the request is sent
	created  *taskState    // the task that is the answer to a tools/call
	invalid  error         // why the answer is invalid
	refusal  *jsonrpc.Error
	retryIn  time.Duration // from Retry-After; 0: not said
	forget   func()
	http     bool // RoundTripper sends it
}

type exchangeKey struct{}

// in returns ctx with the exchange.
func (x *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// exchangeOf returns the exchange that ctx belongs to, or nil.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// begin is called when the request is sent. The SDK sends a tools/call once more
// with the answers to its questions. A transport other than HTTP can forget
// the exchange.
func (x *exchange) begin(forget func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered, x.created, x.invalid, x.refusal, x.retryIn = make(chan struct{}), nil, nil, nil, 0
	x.forget, x.http = forget, forget == nil
}

// end releases the transport's entry for the exchange.
func (x *exchange) end() {
	x.mu.Lock()
	forget := x.forget
	x.forget = nil
	x.mu.Unlock()
	if forget != nil {
		forget()
	}
}

// answer returns the answer as the transport saw it.
func (x *exchange) answer() (created *taskState, invalid error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.created, x.invalid
}

// over notes that no answer can come any more.
func (x *exchange) over() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.finish()
}

// finish closes x.answered. The caller holds the lock.
func (x *exchange) finish() {
	select {
	case <-x.answered:
	default:
		if x.answered != nil {
			close(x.answered)
		}
	}
}

// pending returns a channel that is closed when the answer has come, or can no longer
// come. It is nil if that has happened, or if the transport is not one of ours.
func (x *exchange) pending() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.answered:
		return nil
	default:
		return x.answered
	}
}

// overHTTP reports whether RoundTripper sends the request.
func (x *exchange) overHTTP() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.http
}

// refused keeps the hints that a refusal has beside its HTTP status.
func (x *exchange) refused(retryIn time.Duration, body *jsonrpc.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.retryIn, x.refusal = retryIn, body
}

// hints returns the hints that refused has kept.
func (x *exchange) hints() (retryIn time.Duration, body *jsonrpc.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.retryIn, x.refusal
}

// inspect looks at the result before the SDK does. It reports whether the SDK is to
// get an empty one in its place; the middleware knows why.
func (x *exchange) inspect(raw json.RawMessage) (instead bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.finish()
	switch x.method {
	case methodGet, methodUpdate, methodCancel:
		return false // taskState reads leniently
	}
	var result map[string]json.RawMessage
	if json.Unmarshal(raw, &result) != nil {
		return false
	}
	kind, given := result["resultType"]
	switch isTask := textOf(kind) == "task"; {
	case isTask && x.method == methodCall:
		x.created = readState(raw)
		return true
	case isTask:
		x.invalid = invalid("a task in answer to %s; only tools/call may become one", x.method)
	case x.method == methodCall && given && textOf(kind) != "complete" && textOf(kind) != "input_required":
		// MCP 2026-07-28, ResultType: unknown ones are invalid.
		x.invalid = invalid("a resultType that this client does not know, in answer to %s", x.method)
	case hasNull(result["inputRequests"]):
		// The SDK's decoder would panic.
		x.invalid = invalid("a request for input that is null, in answer to %s", x.method)
	}
	return x.invalid != nil
}

func hasNull(object json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if object == nil || json.Unmarshal(object, &fields) != nil {
		return false
	}
	for _, field := range fields {
		if string(field) == "null" {
			return true
		}
	}
	return false
}

// invalid returns an error that says why an answer is invalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalidResponse}, args...)...)
}

// look does for an encoded message the work that inspect does for a result. It returns
// nil if the SDK is to read the message as it is.
func (x *exchange) look(message []byte) []byte {
	var fields map[string]json.RawMessage
	if decodeFirst(message, &fields) != nil || fields["id"] == nil {
		return nil
	}
	if _, ok := fields["method"]; ok {
		return nil // a request of the server
	}
	if !x.inspect(fields["result"]) {
		return nil
	}
	return mustMarshal(map[string]any{"jsonrpc": "2.0", "id": fields["id"], "result": emptyResult})
}

// emptyResult replaces a result for the SDK. It is shorter than any that it replaces.
var emptyResult = json.RawMessage(`{"content":[]}`)
