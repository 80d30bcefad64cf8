package mcptasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// A puppet is a task with a handler that does as it is told.
type puppet struct {
	*model
	polls     view
	commands  chan command
	obstinate bool // returns a result when its ctx ends

	mu    sync.Mutex
	round []string // the keys of the last questions
}

// A command makes a handler act. It returns nil for it to go on.
type command func(ctx context.Context, life int) *outcome

type outcome struct {
	result *mcp.CallToolResult
	err    error
}

type puppetInput struct {
	N int `json:"n"`
}

// handle is the handler of all puppets.
func (w *world) handle(ctx context.Context, req *mcp.CallToolRequest, in puppetInput) (*mcp.CallToolResult, any, error) {
	p := w.puppets[in.N]
	p.mu.Lock()
	for key := range req.Params.InputResponses {
		if !slices.Contains(p.round, key) {
			w.t.Errorf("a handler that asked %q was answered %q", p.round, key)
		}
	}
	p.mu.Unlock()
	life := p.begins()
	for {
		select {
		case act := <-p.commands:
			if o := act(ctx, life); o != nil {
				return o.result, nil, o.err
			}
		case <-ctx.Done():
			if p.obstinate {
				return p.returns("in spite of it", life), nil, nil
			}
			return nil, nil, ctx.Err()
		}
	}
}

// tell gives the handler something to do, now or when it is called again.
func (w *world) tell(p *puppet, c command) {
	select {
	case p.commands <- c:
	default:
	}
}

func (w *world) complete(p *puppet, isError bool) command {
	w.texts++
	result := fmt.Sprintf("result %d", w.texts)
	return func(_ context.Context, life int) *outcome {
		o := &outcome{result: p.returns(result, life)}
		o.result.IsError = isError
		return o
	}
}

func (w *world) ask(p *puppet) command {
	requests := mcp.InputRequestMap{}
	var keys []string
	for range 1 + w.choose(2) {
		key := "q" + strconv.Itoa(w.choose(3))
		requests[key] = elicit(key)
		keys = append(keys, key)
		p.happens(p.asked, key)
	}
	return func(context.Context, int) *outcome {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.round = append(p.round, keys...) // a stale handler may ask as well
		return &outcome{result: &mcp.CallToolResult{InputRequests: requests}}
	}
}

func (w *world) report(p *puppet) command {
	w.texts++
	message := fmt.Sprintf("message %d", w.texts)
	p.happens(p.messages, message)
	return func(ctx context.Context, life int) *outcome {
		for range 2 { // the first may take as long as its replica is suspended
			stale := p.over(life)
			err := mcptasks.FromContext(ctx).SetStatusMessage(context.WithoutCancel(ctx), message)
			if stale && !errors.Is(err, tasks.ErrLeaseLost) {
				w.t.Errorf("a runner wrote after it had lost the task: %v", err)
			}
		}
		return nil
	}
}

// A valve is a store that stops writes on their way, as the writes of a suspended process
// are, and lets them arrive when it opens.
type valve struct {
	taskstore.StorageBackend
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (v *valve) PutIfVersion(ctx context.Context, key taskstore.Key, value taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	return v.StorageBackend.PutIfVersion(v.pass(ctx), key, value, expected)
}

func (v *valve) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	return taskstore.PutBatch(v.pass(ctx), v.StorageBackend, writes)
}

// pass waits until a write may pass, and returns the ctx of one that had been sent.
func (v *valve) pass(ctx context.Context) context.Context {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut != nil {
		<-shut
		ctx = context.WithoutCancel(ctx)
	}
	return ctx
}

func (v *valve) Unwrap() taskstore.StorageBackend { return v.StorageBackend }

func (v *valve) suspend() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) resume() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.shut)
	v.shut = nil
}
