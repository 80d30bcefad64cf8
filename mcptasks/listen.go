package mcptasks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// The SDK's types for subscriptions/listen have no taskIds and its sessions send
// no notifications/tasks. So an edge, Handler or Transport, stands between the
// client and the SDK: it takes the taskIds out of the request and puts a token in
// their place, adds those that were agreed on to the acknowledgement on its way
// out, and sends the notifications. The middleware, which alone knows who the
// client is, finds the edge by the token.

// tokenKey is where in _meta the edge puts the token.
const tokenKey = "github.com/taskstore/taskstore/mcptasks/listen"

// A listen is one subscriptions/listen with taskIds.
type listen struct {
	token string
	asked []string
	id    json.RawMessage // the request's, which every notification carries
	// push sends a notification to the client, after the acknowledgement.
	push func(ctx context.Context, params json.RawMessage) error
	// forget is called when the listen is over.
	forget func()

	mu     sync.Mutex
	agreed []string
	acked  chan struct{} // closed when the acknowledgement is sent
	once   sync.Once
}

// newListen takes the taskIds out of the params of a subscriptions/listen. It
// returns nil, and params as they are, if there are none.
func (t *Tasks) newListen(id, params json.RawMessage) (*listen, json.RawMessage, error) {
	var p, notifications, meta map[string]json.RawMessage
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p["notifications"], &notifications) != nil {
		return nil, params, nil // the SDK says what is wrong
	}
	raw, ok := notifications["taskIds"]
	if !ok {
		return nil, params, nil
	}
	l := &listen{token: rand.Text(), id: id, acked: make(chan struct{})}
	if err := json.Unmarshal(raw, &l.asked); err != nil {
		return nil, nil, invalidParams("taskIds must be an array of strings")
	}
	if json.Unmarshal(p["_meta"], &meta) != nil || meta == nil {
		meta = make(map[string]json.RawMessage)
	}
	delete(notifications, "taskIds")
	meta[tokenKey] = json.RawMessage(`"` + l.token + `"`)
	p["notifications"], p["_meta"] = mustMarshal(notifications), mustMarshal(meta)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listens[l.token] = l
	return l, mustMarshal(p), nil
}

// drop forgets l.
func (t *Tasks) drop(l *listen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.listens, l.token)
}

// mustMarshal is for what cannot fail: it was decoded before.
func mustMarshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// listen answers subscriptions/listen: it agrees on tasks, has the SDK do the
// rest, and pushes until all tasks have ended or the client is gone.
func (in *installation) listen(ctx context.Context, req *mcp.SubscriptionsListenRequest) (mcp.Result, error) {
	token, _ := req.Params.Meta[tokenKey].(string)
	in.mu.Lock()
	l := in.listens[token]
	in.mu.Unlock()
	if l == nil {
		return in.next(ctx, methodListen, req)
	}
	in.drop(l)
	if l.forget != nil {
		defer l.forget()
	}
	delete(req.Params.Meta, tokenKey)
	if !capable(req) {
		return nil, missingCapability()
	}
	who, err := in.tenant(ctx, req)
	if err != nil {
		return nil, err
	}
	agreed, err := in.agree(ctx, who, l.asked)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.agreed = agreed
	l.mu.Unlock()

	pushing, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, id := range agreed {
		all.Go(func() { in.follow(pushing, who, l, id) })
	}
	// This waits for ctx if the client subscribed to anything else as well.
	res, err := in.next(ctx, methodListen, req)
	if err == nil {
		all.Wait()
	}
	return res, err
}

// looksAtOnce is how many tasks of one listen are looked at side by side.
const looksAtOnce = 16

// agree returns the ids that are tasks of the client. It looks at MaxListen of them
// at most, whether or not they are: a request can name more than a store can bear.
func (in *installation) agree(ctx context.Context, who tenant, asked []string) ([]string, error) {
	var ids []string
	for _, id := range asked {
		if len(ids) == in.opts.MaxListen {
			break
		}
		if _, _, ok := who.stored(id); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	errs := make([]error, len(ids))
	turns := make(chan struct{}, looksAtOnce)
	var all sync.WaitGroup
	for i, id := range ids {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			owner, stored, _ := who.stored(id)
			_, errs[i] = in.store.Get(ctx, owner, stored)
		})
	}
	all.Wait()
	agreed := []string{}
	for i, err := range errs {
		switch {
		case err == nil:
			agreed = append(agreed, ids[i])
		case !errors.Is(err, tasks.ErrNotFound):
			return nil, in.wireError(methodListen, err)
		}
	}
	return agreed, nil
}

// follow pushes the task as it is and each change of it, until it ends, the
// client is gone or the store fails: the client may poll at any time.
func (in *installation) follow(ctx context.Context, who tenant, l *listen, id string) {
	select {
	case <-l.acked:
	case <-ctx.Done():
		return
	}
	owner, stored, _ := who.stored(id)
	meta := json.RawMessage(`{"` + mcp.MetaKeySubscriptionID + `":` + string(l.id) + `}`)
	var last []byte
	for t, err := range in.store.Changes(ctx, owner, stored) {
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, tasks.ErrNotFound) {
				in.log.Warn("mcptasks: pushes of a task end", "error", err)
			}
			return
		}
		params := mustMarshal(struct {
			Meta json.RawMessage `json:"_meta"`
			taskFields
		}{meta, detailed(&t)})
		if bytes.Equal(params, last) {
			continue // what changed is not visible to clients
		}
		last = params
		if l.push(ctx, params) != nil {
			return
		}
	}
}

// acknowledge adds the agreed tasks to the params of an acknowledgement.
func (l *listen) acknowledge(params json.RawMessage) json.RawMessage {
	var p, notifications map[string]json.RawMessage
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p["notifications"], &notifications) != nil || notifications == nil {
		return params
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	notifications["taskIds"] = mustMarshal(l.agreed)
	p["notifications"] = mustMarshal(notifications)
	return mustMarshal(p)
}

// sent lets the pushes begin.
func (l *listen) sent() { l.once.Do(func() { close(l.acked) }) }
