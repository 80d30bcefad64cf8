package mcptasks

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// listen answers subscriptions/listen: it agrees on tasks, has the SDK do the rest, and
// pushes until all tasks have ended, the client is gone, the token that authorised the
// request has expired, or the server shuts down. If the server ends it, the client gets
// the result that says so.
func (in *installation) listen(ctx context.Context, req *mcp.SubscriptionsListenRequest) (mcp.Result, error) {
	token, _ := req.Params.Meta[tokenKey].(string)
	delete(req.Params.Meta, tokenKey)
	s := in.subscriptions.find(token)

	ctx, end := context.WithCancel(ctx)
	defer end()
	if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil && !extra.TokenInfo.Expiration.IsZero() {
		ctx, end = context.WithDeadline(ctx, extra.TokenInfo.Expiration)
		defer end()
	}
	defer in.subscriptions.enter(in, end)()
	if in.runs.drains(in) {
		return nil, unavailable()
	}
	if s == nil {
		return in.serveUntil(ctx, req)
	}
	if !capable(req) {
		return nil, missingCapability()
	}
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if who.named != "" && !in.subscriptions.claim(s, who.named, in.opts.MaxOwnerSubscriptions) {
		return nil, internalError(fmt.Sprintf("too many subscriptions: at most %d are open for one owner; end one, or poll with tasks/get", in.opts.MaxOwnerSubscriptions))
	}
	agreed, err := in.agree(ctx, who, s.asked)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.agreed = agreed
	s.mu.Unlock()

	var pushing sync.WaitGroup
	defer pushing.Wait()
	defer end()
	pushing.Go(func() { in.push(ctx, who, s, agreed) })
	res, err := in.serveUntil(ctx, req)
	if err == nil {
		pushing.Wait()
	}
	return res, err
}

// serveUntil has the SDK acknowledge a subscriptions/listen and serve the kinds that it
// knows. If there are any, it returns when ctx ends.
func (in *installation) serveUntil(ctx context.Context, req *mcp.SubscriptionsListenRequest) (mcp.Result, error) {
	res, err := in.next(ctx, methodListen, req)
	var wire *jsonrpc.Error
	if err != nil && ctx.Err() != nil && !errors.As(err, &wire) {
		return nil, unavailable() // it ended before it was acknowledged
	}
	return res, err
}

// looksAtOnce is how many tasks of one subscription are looked at side by side.
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

// push sends each task as it is and each change of it, as tasks/get would show it, until
// all have ended or ctx is done. It gives up a task that it cannot read for good: the
// client may poll at any time.
func (in *installation) push(ctx context.Context, who tenant, s *subscription, agreed []string) {
	select {
	case <-s.acked:
	case <-ctx.Done():
		return
	}
	named := make([]taskstore.Key, len(agreed))
	for i, id := range agreed {
		named[i].Owner, named[i].Task, _ = who.stored(id)
	}
	meta := mustMarshal(map[string]any{mcp.MetaKeySubscriptionID: s.id.Raw()})
	last := make(map[string][sha256.Size]byte, len(named))
	for t, err := range in.store.ChangesOf(ctx, named) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if !errors.Is(err, tasks.ErrNotFound) {
				in.log.pushesEnd(err)
			}
			continue
		}
		fields := toWireDetailed(&t)
		params := mustMarshal(struct {
			Meta json.RawMessage `json:"_meta"`
			taskFields
		}{meta, fields})
		digest := sha256.Sum256(params)
		if digest == last[fields.TaskID] {
			continue // the change is not visible to clients
		}
		last[fields.TaskID] = digest
		if s.push(ctx, params) != nil {
			return
		}
	}
}
