package mcptasks

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// An execution is one run of a handler, with Options.Around around it: as a task from
// the start, or until it becomes one.
type execution struct {
	in    *installation
	opts  *ToolOptions
	call  *mcp.CallToolRequest // as it came to the gate, with the client's session if there is one
	chain mcp.MethodHandler    // runs the handler
	// owner is whose task it is or would be.
	owner  string
	ctx    context.Context // the handler's
	cancel context.CancelCauseFunc
	// request is the ctx of the tools/call, which ends when its client is gone. Nil:
	// the handler is called again, for a task.
	request context.Context
	plain   *plainCall // that waits for the outcome, or nil
	// storing ends when a shutdown has waited for long enough.
	storing     context.Context
	stopStoring context.CancelFunc
	ended       func() // called at the end, unless nil

	promoted chan struct{} // closed when there is a task
	entered  atomic.Bool   // the run has come to the handler

	// mu guards the fields below. It is not held over a call of the store.
	mu        sync.Mutex
	run       *tasks.Run    // nil: no task yet
	created   tasks.Task    // as Create made it
	promoting chan struct{} // closed when the present Create has ended; nil: no Create runs
	answered  bool          // the call has its answer, without a task
	reported  report        // before there is a task; interval too, 0: not set
	interval  time.Duration
	state     checkpoint
	stop      func()       // ends the renewals of the lease
	over      bool         // the lease is not to be kept any more
	detached  bool         // the work goes on elsewhere
	observed  *RunObserver // nil: the run is not observed

	expired sync.Once // that it is logged

	saves sync.Mutex // one SaveState at a time, so that the last one stays

	// For the observer of the run, set by the goroutine that ends it.
	toolError, lost bool
}

// begin makes an execution. Its ctx has the values of ctx and not its end. It
// fails when the server shuts down. The caller must call end.
func (in *installation) begin(ctx context.Context, owner string, call *mcp.CallToolRequest, opts *ToolOptions, chain mcp.MethodHandler) (*execution, error) {
	e := &execution{in: in, opts: opts, call: call, chain: chain, owner: owner, promoted: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	e.ctx = withOwner(context.WithValue(e.ctx, taskKey{}, &Task{e}), owner)
	e.storing, e.stopStoring = context.WithCancel(context.WithoutCancel(ctx))
	if !in.runs.add(e) {
		e.cancel(ErrShutdown)
		e.stopStoring()
		return nil, ErrShutdown
	}
	return e, nil
}

func (e *execution) end() {
	e.observeEnd()
	e.cancel(nil)
	e.stopStoring()
	if e.ended != nil {
		e.ended()
	}
	e.in.runs.release(e)
}

// adopt makes run the execution's task. It is called under mu.
func (e *execution) adopt(run *tasks.Run) {
	e.run = run
	e.stop = e.keep(run)
	close(e.promoted)
}

// promote makes a task of the call, unless it is one or has its answer.
func (e *execution) promote(ctx context.Context) error {
	for {
		e.mu.Lock()
		switch {
		case e.run != nil:
			e.mu.Unlock()
			return nil
		case e.answered, e.request.Err() != nil:
			e.mu.Unlock()
			return ErrAnswered
		case e.promoting == nil:
			return e.create(ctx)
		}
		promoting := e.promoting
		e.mu.Unlock()
		select {
		case <-promoting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// create stores the task. It is called under mu, and returns without it. An answer that
// is ready does not wait for the store: the task is then taken back, since no client has
// its id.
func (e *execution) create(ctx context.Context) error {
	done := make(chan struct{})
	e.promoting = done
	before, interval := e.reported, cmp.Or(e.interval, e.opts.PollInterval)
	e.mu.Unlock()
	// A shutdown waits until the task is stored, or taken back.
	e.in.runs.hold(e)
	defer e.in.runs.release(e)
	request, err := savedRequest(e.call.Params)
	var t tasks.Task
	if err == nil {
		e.observe(RunBegin{First: true})
		t, _, err = e.in.store.Create(ctx, e.owner, tasks.CreateParams{
			Request: request, StatusMessage: before.message, TTL: e.opts.TTL, PollInterval: interval,
			Holder: e.in.holder, Resumable: e.opts.Retry, Service: e.in.service, Trace: e.observer().Trace,
		})
	}
	e.mu.Lock()
	e.promoting = nil
	close(done)
	answered := e.answered
	if err == nil && !answered {
		e.created = t
		e.adopt(e.in.store.RunOf(t))
	}
	later, checkpointed := e.reported, e.state.User != nil
	laterInterval := cmp.Or(e.interval, e.opts.PollInterval)
	e.mu.Unlock()
	switch {
	case err != nil:
		return err
	case answered:
		e.takeBack(t)
		return ErrAnswered
	}
	if e.opts.Retry && e.in.runs.drains(e.in) {
		e.cancel(ErrShutdown) // to be handed over at once, like the others
	}
	// The call is a task, even if these writes fail. A handler that is called again
	// without its checkpoint begins at its start, as after any other crash.
	if later != (report{message: before.message}) {
		err = e.report(ctx, later)
	}
	if laterInterval != interval {
		_, asked := e.task().Update(ctx, func(t *tasks.Task) error { t.PollInterval = laterInterval; return nil })
		err = errors.Join(err, asked)
	}
	if checkpointed {
		err = errors.Join(err, e.saveState(ctx, func(*checkpoint) {}))
	}
	if err != nil {
		e.in.log.reportLost(e.call.Params.Name, err)
	}
	return nil
}

// takeBack deletes a task whose id no client has. If that fails, the task ends as every
// task does whose runner is gone.
func (e *execution) takeBack(t tasks.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), e.in.store.Options().Lease)
	defer cancel()
	_ = retry(ctx, func() error { return e.in.store.Delete(ctx, t.Owner, t.ID) }, func(err error) bool {
		return errors.Is(err, tasks.ErrNotFound)
	})
}

// settle says that the call gets its answer without a task. It reports false if
// there is a task.
func (e *execution) settle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered = e.run == nil
	return e.answered
}

// task returns the run, nil if there is no task yet.
func (e *execution) task() *tasks.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run
}
