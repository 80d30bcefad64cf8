package tasks

import (
	"errors"
	"fmt"

	"github.com/taskstore/taskstore"
)

// The kinds of failure. Errors match them through [errors.Is]; the types below
// carry the details. What a backend reports comes through and matches as the
// backend says, such as [taskstore.ErrOutcomeUnknown] and
// [taskstore.ErrCapacityExceeded]. No error text holds an owner, an id, a key or
// a payload.
var (
	// ErrNotFound says that the owner has no such task, or none any more. Whether
	// somebody else has one cannot be told. It matches [taskstore.ErrNotFound].
	ErrNotFound error = notFoundError{}
	// ErrTerminal says that the task has ended and cannot change. See
	// TerminalError.
	ErrTerminal = errors.New("tasks: the task has ended")
	// ErrTransition says that the state machine has no such step. See
	// TransitionError.
	ErrTransition = errors.New("tasks: no such transition")
	// ErrLeaseHeld says that somebody runs the task.
	ErrLeaseHeld = errors.New("tasks: the lease is held")
	// ErrLeaseLost says that a Run is over: the task has ended, was parked, was
	// taken over by another runner or is gone. The error matches ErrTerminal or
	// ErrNotFound too where that is why. Stop working on the task.
	ErrLeaseLost = errors.New("tasks: the lease is lost")
	// ErrCancelled is the cause of a [Run.Context] when somebody asked to cancel the task.
	ErrCancelled = errors.New("tasks: the task is cancelled")
	// ErrLimit says that something is too big or too many. See LimitError.
	ErrLimit = errors.New("tasks: limit exceeded")
	// ErrInvalid says that an argument makes no sense. See InvalidError.
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
	// ErrContention says that a change lost against others too many times in a row.
	// Nothing was changed. See ContentionError.
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
	To   Status // what is not a status prints as such
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

// A Limit is what a LimitError is about.
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

// A LimitError reports what is beyond a limit of [Options]. Nothing was changed.
// It matches [ErrLimit], and [taskstore.ErrCapacityExceeded] where it is about how
// many tasks an owner has.
type LimitError struct {
	Limit Limit
	Max   int // the limit's value
	Asked int // what it would have become
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("tasks: limit exceeded: at most %d %s, not %d", e.Max, e.Limit, e.Asked)
}

// Is matches ErrLimit, and taskstore.ErrCapacityExceeded where it is about how many
// tasks an owner has.
func (e *LimitError) Is(target error) bool {
	return target == ErrLimit ||
		target == taskstore.ErrCapacityExceeded && (e.Limit == LimitTasks || e.Limit == LimitActive)
}

// An InvalidError reports an argument or an option that cannot be used. It
// matches [ErrInvalid] and [taskstore.ErrInvalidArgument], and [ErrInvalidOwner]
// where it is about an owner.
type InvalidError struct {
	Argument string // as it is called in the documentation
	Reason   string // what is wrong and what would be right
}

func (e *InvalidError) Error() string { return "tasks: invalid " + e.Argument + ": " + e.Reason }

// Is matches ErrInvalid and taskstore.ErrInvalidArgument, and ErrInvalidOwner
// where it is about an owner.
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

// A ContentionError reports a change that was given up. Nothing was changed. It
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

// A FormatError reports a record that a newer version of this library wrote. No
// method writes over it; Delete removes it. It matches [ErrFormat].
type FormatError struct {
	Format uint64 // the record's
	Max    uint64 // the newest that this version reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("tasks: record of a newer format: it has format %d, this version reads up to %d; a newer version of the library wrote it", e.Format, e.Max)
}

// Is matches ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
