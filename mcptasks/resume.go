package mcptasks

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A verdict is the decision about a task that waits for a runner.
type verdict int

const (
	leave     verdict = iota // another replica may be able to
	resume                   // run it here
	abandon                  // no replica can
	exhausted                // it has used up MaxRuns
)

// abandonAfter is how many leases a task waits for a server that has its tool: for a
// rolling deploy to bring one, or for a busy one to reach the task.
const abandonAfter = 10

// defaultMaxRuns is the default of MaxRuns.
const defaultMaxRuns = 5

// classify decides about t, which waits for a runner at now, and returns its tool's name
// for logs.
func (in *installation) classify(ctx context.Context, t *tasks.Task, now time.Time) (verdict, string) {
	call, err := savedCall(t.Request)
	if err == nil {
		opts, _ := in.tool(call.Params.Name)
		if opts != nil && opts.Retry && in.stillHas(ctx, call.Params.Name) {
			if most := cmp.Or(opts.MaxRuns, defaultMaxRuns); most > 0 && lostRuns(t) >= uint64(most) {
				return exhausted, call.Params.Name
			}
			return resume, call.Params.Name
		}
	}
	// A task that has not had a runner is not one of ours.
	since := t.Lease.IdleSince
	if t.Lease.Token != 0 && !since.IsZero() && now.Sub(since)/abandonAfter > in.store.Options().Lease {
		if err != nil {
			return abandon, ""
		}
		return abandon, call.Params.Name
	}
	return leave, ""
}

// stillHas reports whether the server has the tool, which may have been removed.
func (in *installation) stillHas(ctx context.Context, tool string) bool {
	session, err := in.nullSession(ctx, nil, &mcp.InitializeParams{ProtocolVersion: firstVersion})
	if err != nil {
		return false
	}
	defer session.Close()
	return has(ctx, session, tool)
}

// resume acquires a task, unless another replica is faster, and goes on with it in the
// background. It calls ended when that is over, in any case.
func (in *installation) resume(t tasks.Task, ended func()) {
	e, err := in.prepare(t.Owner, t.Request)
	if err != nil {
		ended()
		return // another replica will
	}
	e.ended = ended
	go e.goOn(t.ID, true)
}

// prepare makes the execution of a stored task. The caller must call goOn or end.
func (in *installation) prepare(owner string, request []byte) (*execution, error) {
	call, err := savedCall(request)
	if err != nil {
		return nil, errCannotResume
	}
	opts, _ := in.tool(call.Params.Name)
	if opts == nil {
		return nil, errCannotResume
	}
	return in.begin(context.Background(), owner, call, opts, in.run)
}

// errCannotResume says that this server does not have the task's tool.
var errCannotResume = errors.New("mcptasks: this server cannot run the task")

// goOn acquires the task with this id and runs its handler; lost says that the task
// has lost its runner, which is logged.
func (e *execution) goOn(id string, lost bool) {
	if !e.acquire(id, lost) {
		e.end()
		return
	}
	if lost {
		e.in.log.resumed(e.call.Params.Name)
	}
	e.work()
}

// acquire makes the execution that of a stored task. It retries while the store fails:
// this replica may be the only one that knows of the answer.
func (e *execution) acquire(id string, lost bool) bool {
	var run *tasks.Run
	err := e.retry(func(ctx context.Context) (err error) {
		run, err = e.in.store.Acquire(ctx, e.owner, id, e.in.holder)
		if errors.Is(err, tasks.ErrLeaseHeld) || errors.Is(err, tasks.ErrTerminal) ||
			errors.Is(err, tasks.ErrTransition) || errors.Is(err, tasks.ErrNotFound) {
			err = errors.Join(tasks.ErrLeaseLost, err) // another replica has it, for good
		}
		return err
	})
	if err != nil {
		return false
	}
	t := run.Task()
	e.observe(RunBegin{Before: t.Trace, Lost: lost})
	state, err := decodeCheckpoint(t.State)
	if err == nil {
		err = state.answers(&t, e.call.Params)
	}
	e.mu.Lock()
	e.state = state
	e.adopt(run)
	e.mu.Unlock()
	if err != nil {
		e.in.log.damaged(e.call.Params.Name, "checkpoint")
		_ = e.retry(e.fail(tasks.Error{Code: jsonrpc.CodeInternalError, Message: "the task cannot be resumed"}))
		e.stop()
		return false
	}
	if e.opts.Retry && e.in.runs.drains(e.in) {
		e.cancel(ErrShutdown)
	}
	e.rejoin()
	return true
}

// lostRuns returns how many runners of t were lost, including its present holder.
func lostRuns(t *tasks.Task) uint64 {
	if t.Lease.Holder != "" {
		return t.LostRuns + 1
	}
	return t.LostRuns
}

// The Error.Message of a task that a server fails by itself, beside those of package tasks.
const (
	// MessageAbandoned: no server that looks after the task has its tool, or may run it again.
	MessageAbandoned = "no server can go on with this task: its tool is gone, or is not to be run again"
	// MessageExhausted: [ToolOptions].MaxRuns runners were lost.
	MessageExhausted = "this task was begun as often as it may, and the server that ran it was lost each time"
	// MessageShutdown: the handler was told to end, and its tool has no Retry.
	MessageShutdown = "the server was shut down"
)

// fail ends a task as failed that no server is to run any more.
func (in *installation) fail(ctx context.Context, t tasks.Task, tool, reason string) {
	run, err := in.store.Acquire(ctx, t.Owner, t.ID, in.holder)
	if err == nil {
		_, err = run.Fail(ctx, tasks.Error{Code: jsonrpc.CodeInternalError, Message: reason})
	}
	if err == nil {
		in.log.givenUp(tool, reason)
	}
}
