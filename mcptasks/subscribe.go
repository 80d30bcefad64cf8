package mcptasks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// The SDK's types for subscriptions/listen have no taskIds and its sessions send no
// notifications/tasks. So a shim, Handler or Transport, stands between the client and the
// SDK: it takes the taskIds out of the request and puts a token in their place, adds
// those that were agreed on to the acknowledgement on its way out, and sends the
// notifications. The middleware, which alone knows the caller, finds the subscription by
// the token.

// tokenKey is the key in _meta under which the shim puts the token.
const tokenKey = "github.com/taskstore/taskstore/mcptasks/listen"

// A subscription is one subscriptions/listen with taskIds.
type subscription struct {
	id    jsonrpc.ID // the request's, which every notification carries
	token string
	asked []string
	// push sends a notification to the client, after the acknowledgement.
	push func(ctx context.Context, params json.RawMessage) error

	owner string // empty: unknown yet, or anonymous; guarded by the mutex of subscriptions

	mu     sync.Mutex
	agreed []string
	acked  chan struct{} // closed when the acknowledgement is sent
	once   sync.Once
}

// subscribe takes the taskIds out of a subscriptions/listen and returns the
// subscription and the request that goes on to the SDK. The caller must close the
// subscription. Without taskIds it returns nil and the request as it is.
func (t *Tasks) subscribe(req *jsonrpc.Request) (*subscription, *jsonrpc.Request, *jsonrpc.Error) {
	var p, notifications, meta map[string]json.RawMessage
	if json.Unmarshal(req.Params, &p) != nil || json.Unmarshal(p["notifications"], &notifications) != nil {
		return nil, req, nil // the SDK answers with the error
	}
	raw, ok := notifications["taskIds"]
	if !ok {
		return nil, req, nil
	}
	s := &subscription{id: req.ID, token: rand.Text(), acked: make(chan struct{})}
	if err := json.Unmarshal(raw, &s.asked); err != nil {
		return nil, nil, invalidParams("taskIds must be an array of strings")
	}
	if json.Unmarshal(p["_meta"], &meta) != nil || meta == nil {
		meta = make(map[string]json.RawMessage)
	}
	delete(notifications, "taskIds")
	meta[tokenKey] = mustMarshal(s.token)
	p["notifications"], p["_meta"] = mustMarshal(notifications), mustMarshal(meta)
	if !t.subscriptions.open(s, t.opts.MaxSubscriptions) {
		return nil, nil, askAgain("too many subscriptions are open on this server: ask again, or poll with tasks/get")
	}
	changed := *req
	changed.Params = mustMarshal(p)
	return s, &changed, nil
}

// acknowledge adds the agreed tasks to the params of an acknowledgement.
func (s *subscription) acknowledge(params json.RawMessage) json.RawMessage {
	var p, notifications map[string]json.RawMessage
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p["notifications"], &notifications) != nil || notifications == nil {
		return params
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	notifications["taskIds"] = mustMarshal(s.agreed)
	p["notifications"] = mustMarshal(notifications)
	return mustMarshal(p)
}

// sent lets the pushes begin.
func (s *subscription) sent() { s.once.Do(func() { close(s.acked) }) }
