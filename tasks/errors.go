package tasks

import (
	"errors"
	"fmt"

	"github.com/taskstore/taskstore"
)

// The kinds of failure. Match them with [errors.Is]; the types below carry the details.
// An error of the backend is passed on and matches its own sentinels, such as
// [taskstore.ErrOutcomeUnknown] and [taskstore.ErrCapacityExceeded]. Error texts are
// free of owners, ids, keys and payloads.
var (
	// ErrNotFound says that the owner has no such task, or no longer has it. It does
	// not reveal whether another owner has one. It matches [taskstore.ErrNotFound].
	ErrNotFound error = notFoundError{}
	// ErrTerminal says that the task has ended and cannot change. See
	// TerminalError.
	ErrTerminal = errors.New("tasks: the task has ended")
	// ErrTransition says that the state machine does not have this step. See
	// TransitionError.
	ErrTransition = errors.New("tasks: no such transition")
	// ErrLeaseHeld says that another runner has the task.
	ErrLeaseHeld = errors.New("tasks: the lease is held")
	// ErrLeaseLost says that a Run is over: the task has ended, was parked, was taken
	// over by another runner or does not exist any more. The error matches ErrTerminal
	// or ErrNotFound too if that is the reason. Stop working on the task.
	ErrLeaseLost = errors.New("tasks: the lease is lost")
	// ErrCancelled is the cause of a [Run.Context] when a client asked to cancel the
	// task.
	ErrCancelled = errors.New("tasks: the task is cancelled")
	// ErrLimit says that a value is too big or that there are too many. See LimitError.
	ErrLimit = errors.New("tasks: limit exceeded")
	// ErrInvalid says that an argument cannot be used. See InvalidError.
	ErrInvalid = errors.New("tasks: invalid argument")
	// ErrInvalidOwner says that an owner is empty or too long. It comes with
	// ErrInvalid, in an InvalidError.
	ErrInvalidOwner = errors.New("tasks: invalid owner")
	// ErrInputKeyReused says that a question has a key that the task has used
	// before. See InputKeyError.
	ErrInputKeyReused = errors.New("tasks: input key used before")
	// ErrIdempotencyMismatch says that the idempotency key was used with another
	// request.
	ErrIdempotencyMismatch = errors.New("tasks: idempotency key used with another request")
	// ErrContention says that a change lost against others too many times in a row. The
	// task is unchanged by it. See ContentionError.
	ErrContention = errors.New("tasks: too much contention")
	// ErrFormat says that a newer version of this library wrote the record. See
	// FormatError.
	ErrFormat = errors.New("tasks: record of a newer format")
)

type notFoundError struct{}

func (notFoundError) Error() string        { return "tasks: task not found" }
func (notFoundError) Is(target error) bool { return target == taskstore.ErrNotFound }

// A TerminalError reports a change of a task that has ended. It matches
// [ErrTerminal].
type TerminalError struct {
	Status Status // the one that the task ended with
}

func (e *TerminalError) Error() string { return "tasks: the task has ended: it is " + string(e.Status) }

// Is matches ErrTerminal.
func (e *TerminalError) Is(target error) bool { return target == ErrTerminal }

// A TransitionError reports a step that the state machine does not have. It
// matches [ErrTransition].
type TransitionError struct {
	From Status
	To   Status // an unknown one prints as "an unknown status"
}

func (e *TransitionError) Error() string {
	to := string(e.To)
	if _, known := transitions[e.To]; !known {
		to = "an unknown status"
	}
	return "tasks: no such transition: from " + string(e.From) + " to " + to
}

// Is matches ErrTransition.
func (e *TransitionError) Is(target error) bool { return target == ErrTransition }

// A Limit names the limit that a LimitError reports.
type Limit string

const (
	LimitTasks         Limit = "tasks per owner"
	LimitActive        Limit = "active tasks per owner"
	LimitRequest       Limit = "bytes of request"
	LimitResult        Limit = "bytes of result or error"
	LimitState         Limit = "bytes of state"
	LimitInputRequests Limit = "outstanding input requests"
	LimitInputKey      Limit = "bytes of input key"
	LimitInputKeys     Limit = "input keys in the life of a task"
	LimitInput         Limit = "bytes of input requests or responses"
)

// A LimitError reports a value beyond a limit of [Options]. The store is unchanged. It
// matches [ErrLimit], and [taskstore.ErrCapacityExceeded] if it is about the number of
// an owner's tasks.
type LimitError struct {
	Limit Limit
	Max   int // the limit's value
	Asked int // the value that was refused
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("tasks: limit exceeded: at most %d %s, not %d", e.Max, e.Limit, e.Asked)
}

// Is matches ErrLimit, and taskstore.ErrCapacityExceeded if it is about the number of
// an owner's tasks.
func (e *LimitError) Is(target error) bool {
	return target == ErrLimit ||
		target == taskstore.ErrCapacityExceeded && (e.Limit == LimitTasks || e.Limit == LimitActive)
}

// An InvalidError reports an argument or an option that cannot be used. It matches
// [ErrInvalid] and [taskstore.ErrInvalidArgument], and [ErrInvalidOwner] if it is about
// an owner.
type InvalidError struct {
	Argument string // its name in the documentation
	Reason   string // the fault and the remedy
}

func (e *InvalidError) Error() string { return "tasks: invalid " + e.Argument + ": " + e.Reason }

// Is matches ErrInvalid and taskstore.ErrInvalidArgument, and ErrInvalidOwner if it is
// about an owner.
func (e *InvalidError) Is(target error) bool {
	return target == ErrInvalid || target == taskstore.ErrInvalidArgument ||
		target == ErrInvalidOwner && e.Argument == argumentOwner
}

const argumentOwner = "owner"

// An InputKeyError reports a question with a key that was used before. It matches
// [ErrInputKeyReused].
type InputKeyError struct {
	Key string `json:"-"` // not printed: it may come from a client
}

func (e *InputKeyError) Error() string { return ErrInputKeyReused.Error() }

// GoString is Error; it keeps the key out of %#v too.
func (e *InputKeyError) GoString() string { return e.Error() }

// Is matches ErrInputKeyReused.
func (e *InputKeyError) Is(target error) bool { return target == ErrInputKeyReused }

// A ContentionError reports a change that was given up. The task is unchanged by it. It
// matches [ErrContention] and [taskstore.ErrVersionConflict].
type ContentionError struct {
	Attempts int
	Err      error // the last conflict
}

func (e *ContentionError) Error() string {
	return fmt.Sprintf("tasks: too much contention: gave up after %d attempts: %v", e.Attempts, e.Err)
}

// Is matches ErrContention.
func (e *ContentionError) Is(target error) bool { return target == ErrContention }

// Unwrap returns the last conflict.
func (e *ContentionError) Unwrap() error { return e.Err }

// A FormatError reports a record that a newer version of this library wrote. Only
// Delete and Purge touch such a record. It matches [ErrFormat].
type FormatError struct {
	Format uint64 // the record's
	Max    uint64 // the newest that this version reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("tasks: record of a newer format: it has format %d, this version reads up to %d; a newer version of the library wrote it", e.Format, e.Max)
}

// Is matches ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
