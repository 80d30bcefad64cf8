package mcptasks

import (
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// Run looks after the tasks of dead replicas until ctx ends, then drains: see
// Shutdown, for which it allows [Options.DrainTimeout]. It resumes the tasks of
// tools with [ToolOptions].Retry on server, on which Install was called. Several
// replicas may run it; each task is resumed by one of them.
//
// It returns ctx's error. Without Run everything works except that lost tasks are
// not resumed and that nothing waits for handlers at the end.
func (t *Tasks) Run(ctx context.Context, server *mcp.Server) error {
	in := t.installation(server)
	t.mu.Lock()
	installed := in.next != nil
	t.mu.Unlock()
	if !installed {
		return errors.New("mcptasks: Run before Install")
	}
	// As often as a lease is renewed, so that a lost task does not wait for another
	// lease after its own is over.
	every := time.NewTicker(max(t.store.Options().Lease/3, time.Millisecond))
	defer every.Stop()
	for ctx.Err() == nil {
		in.resumeOrphans(ctx)
		select {
		case <-ctx.Done():
		case <-every.C:
		}
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.DrainTimeout)
	defer cancel()
	if err := t.Shutdown(draining); err != nil {
		t.log.Warn("mcptasks: handlers did not end in time", "error", err)
	}
	return ctx.Err()
}

// resumeOrphans resumes what waits for a runner, as far as MaxResumed allows.
func (in *installation) resumeOrphans(ctx context.Context) {
	for t, err := range in.store.Orphans(ctx, "") {
		if err != nil {
			if ctx.Err() == nil {
				in.log.Warn("mcptasks: looking for lost tasks failed", "error", err)
			}
			return
		}
		if in.busy() >= in.opts.MaxResumed {
			return // the rest is found again, here or elsewhere
		}
		if in.mayResume(t) {
			in.resume(t, true)
		}
	}
}

// mayResume reports whether the task belongs to a tool of this server that opted
// in; another server on the same store may have other tools.
func (in *installation) mayResume(t tasks.Task) bool {
	call, err := savedCall(t.Request)
	if err != nil {
		return false
	}
	opts := in.tool(call.Params.Name)
	return opts != nil && opts.Retry
}

// busy returns how many handlers run whose replica was lost. Handlers that were
// answered are their callers' work, whoever runs them, and do not count.
func (t *Tasks) busy() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.active {
		if e.orphan {
			n++
		}
	}
	return n
}

// Shutdown lets running handlers finish. From its call on no handler is started.
// When ctx ends the handlers' contexts end with [ErrShutdown]: tasks of tools with
// [ToolOptions].Retry are handed to other replicas, others fail. It returns nil
// when no handler runs any more, and ctx's error when some had to be told, after
// waiting a little for them.
func (t *Tasks) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.draining = true
	t.mu.Unlock()
	idle := make(chan struct{})
	go func() { t.idle.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	for e := range t.active {
		e.cancel(ErrShutdown)
	}
	t.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(shutdownPatience):
	}
	return ctx.Err()
}

// shutdownPatience is how long a handler has to return after its ctx ended.
const shutdownPatience = 2 * time.Second
