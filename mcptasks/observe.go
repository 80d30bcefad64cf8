package mcptasks

import (
	"context"

	"github.com/taskstore/taskstore/tasks"
)

// A RunBegin describes a run that begins to [Options].ObserveRun.
type RunBegin struct {
	Tool string // a tool of the server, not a name that a client made up
	// Before has the spans that the task belongs to; zero in its first run.
	Before tasks.Trace
	// First says that the call is about to become a task.
	First bool
	// Lost says that the task goes on since its runner was lost, or handed it over.
	Lost bool
}

// A RunEnd describes a run that has ended to a [RunObserver].
type RunEnd struct {
	// Status is the one that the run brought the task to, as far as this replica knows.
	// Working: it was handed over, or goes on elsewhere. Empty: the call did not become a
	// task.
	Status tasks.Status
	// Code is that of the task's error, if Status is Failed.
	Code int64
	// ToolError says that the task is Completed with a result that has isError.
	ToolError bool
	// Lost says that the task was another's, or gone, before the run was over.
	Lost bool
}

// A RunObserver is returned by [Options].ObserveRun for one run. Its zero value is fine.
//
// ObserveRun is called when a call is about to become a task, before the store is asked,
// with the ctx of its request; and when a task that goes on here has been acquired, with a
// ctx that belongs to no request. Ended is called once for each, when the
// handler has returned and its outcome is stored, or cannot be. Calls of several runs
// overlap; those of one do not. Each is made on a goroutine of this package or of the
// handler, which waits for it: it must not block. No lock is held. A panic ends the
// process, but for one in ObserveRun or Context in the first run of a tool of [AddTool]
// without a Grace: that ends the call as if the handler had panicked.
type RunObserver struct {
	// Trace names the spans to be stored with the task, as far as they are set: that of the
	// call in its first run, and that of this run in any.
	Trace tasks.Trace
	// Context returns the handler's ctx, made from the one that it would get. It is
	// called if the task exists before the handler is called, so not with a Grace or
	// Manual. Nil: the handler's ctx stays as it is.
	Context func(context.Context) context.Context
	// Ended is called at the end. Nil: the end is not observed.
	Ended func(RunEnd)
}

// observe has the program told of a run that begins.
func (e *execution) observe(begin RunBegin) {
	if e.in.opts.ObserveRun == nil {
		return
	}
	e.mu.Lock()
	known := e.observed != nil
	e.mu.Unlock()
	if known { // by an attempt to make a task that failed
		return
	}
	begin.Tool = e.call.Params.Name
	ctx := e.ctx
	if e.request != nil {
		ctx = e.request
	}
	o := e.in.opts.ObserveRun(ctx, begin)
	e.mu.Lock()
	e.observed = &o
	e.mu.Unlock()
}

// observer returns that of the run, or the zero one.
func (e *execution) observer() RunObserver {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.observed == nil {
		return RunObserver{}
	}
	return *e.observed
}

// handlerContext returns the ctx of a handler that is called with ctx, once there is a
// task.
func (e *execution) handlerContext(ctx context.Context) context.Context {
	if o := e.observer(); o.Context != nil && e.task() != nil {
		return o.Context(ctx)
	}
	return ctx
}

// saveTrace stores which span the run is. It is for a later run alone, so no failure
// matters.
func (e *execution) saveTrace(ctx context.Context, run *tasks.Run, span string) {
	_, _ = run.Update(ctx, func(t *tasks.Task) error {
		t.Trace.Run = span
		return nil
	})
}

// observeEnd has the program told of the run's end.
func (e *execution) observeEnd() {
	o := e.observer()
	if o.Ended == nil {
		return
	}
	var end RunEnd
	if run := e.task(); run != nil {
		t := run.Task()
		end.Status, end.Lost = t.Status, e.lost
		end.ToolError = e.toolError && t.Status == tasks.Completed
		if t.Error != nil {
			end.Code = t.Error.Code
		}
	}
	o.Ended(end)
}
