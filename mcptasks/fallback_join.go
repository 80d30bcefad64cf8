package mcptasks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A joint is a call of a plain client that others with the same arguments are joined to.
type joint struct {
	joined atomic.Bool // another call was

	// Guarded by joints.mu.
	e         *execution // that runs; nil: the task waits to be answered, or is detached
	owner, id string     // of that task
	expires   time.Time  // when that task is gone; zero: it stays
}

// shared reports whether another call may have been told the task.
func (j *joint) shared() bool { return j != nil && j.joined.Load() }

// joints are the calls that can be joined in this process.
type joints struct {
	mu    sync.Mutex
	open  map[jointKey]*joint
	swept time.Time // when expired joints were last taken out
}

// sweepJoints is the minimum time between two sweeps, which calls make.
const sweepJoints = time.Minute

type jointKey [sha256.Size]byte

// jointKeyOf tells calls of one owner apart: by tool and arguments, in any order of their
// fields. It reports false for a call that cannot be joined.
func (in *installation) jointKeyOf(owner string, call *mcp.CallToolRequest, opts *ToolOptions) (key jointKey, ok bool) {
	if !opts.joins() || strings.HasPrefix(owner, anonymousPrefix) {
		return key, false
	}
	args := any(map[string]any{}) // as the SDK takes a call without arguments
	if raw := call.Params.Arguments; len(raw) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if decoder.Decode(&args) != nil {
			return key, false
		}
	}
	return sha256.Sum256(mustMarshal([]any{in.service, owner, call.Params.Name, args})), true
}

// enter makes e the call that others are joined to. If another one is there already,
// other than old, which has ended, it returns that one.
func (j *joints) enter(key jointKey, e *execution, old *joint) (mine, other *joint) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if other := j.open[key]; other != nil && other != old {
		return nil, other
	}
	if now := time.Now(); now.Sub(j.swept) > sweepJoints {
		j.swept = now
		for k, parked := range j.open {
			if parked.e == nil && !parked.expires.IsZero() && now.After(parked.expires) {
				delete(j.open, k)
			}
		}
	}
	if j.open == nil {
		j.open = make(map[jointKey]*joint)
	}
	mine = &joint{e: e}
	j.open[key] = mine
	return mine, nil
}

// parked returns the joint whose task waits to be answered, or nil.
func (j *joints) parked(key jointKey) *joint {
	j.mu.Lock()
	defer j.mu.Unlock()
	if it := j.open[key]; it != nil && it.e == nil {
		return it
	}
	return nil
}

// leave is called when the execution of a joint has ended. A task that waits for answers,
// or is worked on elsewhere, stays.
func (j *joints) leave(key jointKey, mine *joint) {
	run := mine.e.task()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open[key] != mine {
		return
	}
	if run != nil {
		if t := run.Task(); t.Status == tasks.InputRequired || t.Lease.Detached {
			mine.e, mine.owner, mine.id, mine.expires = nil, t.Owner, t.ID, t.ExpiresAt
			return
		}
	}
	delete(j.open, key)
}

// taskOf returns the task of a joint, which the call becomes for that. It reports false
// if the call has ended, or cannot become one.
func (in *installation) taskOf(ctx context.Context, j *joint) (t tasks.Task, ok bool) {
	in.joints.mu.Lock()
	e, owner, id := j.e, j.owner, j.id
	in.joints.mu.Unlock()
	if e != nil {
		if e.promote(ctx) != nil {
			return t, false
		}
		t = e.task().Task()
		owner, id = t.Owner, t.ID
	}
	t, err := in.store.Get(ctx, owner, id)
	return t, err == nil && !t.Status.Terminal()
}

// join answers the call by the one that runs already, or makes e that one. A round of
// questions that the client itself was asked belongs to its call alone.
func (p *plainCall) join(ctx context.Context, e *execution) (o outcome, joined bool) {
	key, ok := p.in.jointKeyOf(e.owner, p.call, p.opts)
	if !ok || len(p.call.Params.InputResponses) > 0 || p.call.Params.RequestState != "" {
		return outcome{}, false
	}
	var old *joint
	for {
		mine, other := p.in.joints.enter(key, e, old)
		if mine != nil {
			p.joint = mine
			e.ended = func() { p.in.joints.leave(key, mine) }
			return outcome{}, false
		}
		other.joined.Store(true)
		if t, ok := p.in.taskOf(ctx, other); ok {
			p.joint = other
			return p.follow(ctx, t), true
		}
		old = other
	}
}

// rejoin lets calls be joined to the execution of a task that goes on here.
func (e *execution) rejoin() {
	key, ok := e.in.jointKeyOf(e.owner, e.call, e.opts)
	if !ok || !isPlain(e.call) {
		return
	}
	in := e.in
	mine, _ := in.joints.enter(key, e, in.joints.parked(key))
	if mine == nil {
		return // there is another run of the same
	}
	before := e.ended
	e.ended = func() {
		in.joints.leave(key, mine)
		if before != nil {
			before()
		}
	}
}
