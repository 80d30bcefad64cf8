package mcptasks

import (
	"context"
	"sync"
)

// executions are the handlers that run.
type executions struct {
	mu       sync.Mutex
	running  map[*execution]int // with how many hold each: its handler, and a create under way
	draining bool               // every server drains; see installation.draining
	changed  chan struct{}      // closed, and made anew, when a handler has ended
}

func newExecutions() executions {
	return executions{running: make(map[*execution]int), changed: make(chan struct{})}
}

// add reports false if e's server drains.
func (x *executions) add(e *execution) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.draining || e.in.draining {
		return false
	}
	x.running[e]++
	return true
}

// hold has e count as running until one more call of release.
func (x *executions) hold(e *execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running[e]++
}

func (x *executions) release(e *execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running[e]--; x.running[e] > 0 {
		return
	}
	delete(x.running, e)
	close(x.changed)
	x.changed = make(chan struct{})
}

// drains reports whether in has stopped starting handlers.
func (x *executions) drains(in *installation) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.draining || in.draining
}

// drain stops in, or with nil every server, from starting handlers.
func (x *executions) drain(in *installation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if in == nil {
		x.draining = true
	} else {
		in.draining = true
	}
}

// of returns the executions of in, or with nil all.
func (x *executions) of(in *installation) (list []*execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := range x.running {
		if in == nil || e.in == in {
			list = append(list, e)
		}
	}
	return list
}

// wait returns when all of in, or with nil of all servers, have ended, or with ctx's
// error if ctx ends first.
func (x *executions) wait(ctx context.Context, in *installation) error {
	for {
		x.mu.Lock()
		changed := x.changed
		x.mu.Unlock()
		if len(x.of(in)) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
