package mcptasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A LeftError is returned by CallTool and [Await] when they have stopped waiting
// for a task that goes on: wait again with Await, look at it with [GetTask], answer
// it with [AnswerTask], or end it with [CancelTask]. The id is not in the text.
type LeftError struct {
	ID  string // of the task
	Err error  // why the client no longer waits for it
}

func (e *LeftError) Error() string {
	return "mcptasks: the client stopped waiting, and the task goes on: " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *LeftError) Unwrap() error { return e.Err }

// Await returns the outcome of the task with this id, as the CallTool that made it would:
// after a restart, say, on another session, of any client that is the same user and for
// which [InstallClient] was called, with that client's options and handlers. It works as
// often as one likes until the task's retention is over, and for several callers at a
// time.
//
// Await only waits: the task goes on when ctx ends or a handler fails, and Await returns
// a *[LeftError], as whenever it stops before the task's end. An id that is unknown, or
// another user's, gives an error that matches [ErrNotFound].
func Await(ctx context.Context, session *mcp.ClientSession, taskID string) (*mcp.CallToolResult, error) {
	c, err := installedOn(ctx, session, taskID)
	if err != nil {
		return nil, err
	}
	w := &wait{taskClient: c, session: session, id: taskID}
	return w.await(ctx, 0)
}

// A wait is one CallTool or Await that waits for a task.
type wait struct {
	*taskClient
	session *mcp.ClientSession
	id      string
	cancels bool // the task, when ctx ends or a handler fails

	capabilities map[string]any // that the client has declared
	open         map[string]*question
	asked        map[string]string // the questions that were answered, or are open
	rounds       int
	answers      chan answer // of handlers
	unsent       *batch
	forms        context.Context // of handlers
}

// begin waits for a task that was just created. The server's message has its first state;
// its end takes a request.
func (w *wait) begin(ctx context.Context, created *taskState) (*mcp.CallToolResult, error) {
	w.report(ctx, created)
	interval := w.interval(created)
	if created.status.Terminal() || created.status == tasks.InputRequired {
		interval = 0
	}
	return w.await(ctx, interval)
}

func (w *wait) report(ctx context.Context, task *taskState) {
	if w.opts.OnTask != nil {
		w.opts.OnTask(ctx, task.seen(w.id))
	}
}

// await polls the task to its end, for the first time after interval.
func (w *wait) await(ctx context.Context, interval time.Duration) (*mcp.CallToolResult, error) {
	w.open, w.asked, w.answers = make(map[string]*question), make(map[string]string), make(chan answer)
	forms, closeForms := context.WithCancelCause(ctx)
	defer closeForms(ErrQuestionClosed)
	w.forms = forms
	for {
		if err := w.pause(ctx, interval); err != nil {
			return nil, w.leave(ctx, err)
		}
		task, capabilities, err := w.get(ctx, w.session, w.id, max(interval, w.opts.MinPollInterval))
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, ErrNotFound):
			return nil, err
		case err != nil:
			return nil, w.leave(ctx, err)
		}
		w.capabilities = capabilities
		w.report(ctx, task)
		if task.status.Terminal() {
			if task.status == tasks.Cancelled {
				closeForms(ErrCancelled)
			}
			return task.outcome()
		}
		if err := w.questions(task); err != nil {
			return nil, w.leave(ctx, err)
		}
		interval = w.interval(task)
	}
}

// pause waits until it is time to poll. Meanwhile it sends the answers of handlers.
func (w *wait) pause(ctx context.Context, interval time.Duration) error {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return ctx.Err()
		case a := <-w.answers:
			if err := w.take(a); err != nil {
				return err
			}
			sent, err := w.send(ctx)
			if err != nil {
				return err
			}
			if sent {
				timer.Reset(interval)
			}
		}
	}
}

// leave returns the error for a task that has not ended. If w cancels, it cancels the
// task when its caller gave up or a handler failed.
func (w *wait) leave(ctx context.Context, err error) error {
	var failed *handlerError
	gaveUp := ctx.Err() != nil
	if gaveUp {
		err = ctx.Err()
	}
	if w.cancels && (gaveUp || errors.As(err, &failed)) {
		notCancelled := w.cancel(ctx, w.session, w.id)
		if notCancelled == nil {
			return err
		}
		err = fmt.Errorf("%w; and the cancel failed: %w", err, notCancelled)
	}
	return &LeftError{ID: w.id, Err: err}
}
