package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/taskstore/taskstore"
)

// A Task is one state of a task, as it was read or written. It is the caller's
// own copy: changing it changes nothing in the store.
//
// Times are the backend's, in UTC and whole milliseconds; so are durations. Raw
// JSON is kept byte for byte, but for space around it.
//
// A Task prints as its status and revision only: owner, id and payloads may be
// personal, and an id may be all that guards a task.
type Task struct {
	// ID is a random UUID (version 4, 122 bits from crypto/rand), never chosen by a
	// caller.
	ID string
	// Owner is the owner that the task was created for.
	Owner  string
	Status Status
	// StatusMessage is for people. What is not UTF-8 in it is replaced by U+FFFD. An
	// end clears it, since what it said of the progress is over, unless the step that
	// ends the task sets another.
	StatusMessage string
	// Progress tells how far the work is, in numbers, as far as StatusMessage does in
	// words; an end clears it. Zero: nothing is said.
	Progress  Progress
	CreatedAt time.Time
	// UpdatedAt is when Revision last grew.
	UpdatedAt time.Time
	// TTL is for how long clients may count on the task, counted from CreatedAt; 0:
	// without end. It changes when the task ends: then the task stays for
	// [Options.Retention] more.
	TTL time.Duration
	// ExpiresAt is the last instant at which the task exists, unless it changes before.
	// Zero: it exists without end. It is later than TTL says while somebody works on
	// the task, or has to be given time to answer, and never later than
	// [Options.MaxTTL] and a lease allow.
	ExpiresAt time.Time
	// PollInterval is how often a client should ask; never 0.
	PollInterval time.Duration
	// Request is what the task came from, enough to run it again. Nil: none. A task
	// that ends loses it where the backend's limit leaves no room for both, the
	// request and what the task ends with.
	Request json.RawMessage
	// InputRequests are the questions that wait for an answer, by key. There are
	// some if and only if Status is InputRequired.
	InputRequests map[string]json.RawMessage
	// InputResponses are the answers since the last RequireInput, by key: what the
	// runner reads when it goes on.
	InputResponses map[string]json.RawMessage
	// InputKeys are the keys of all questions that the task ever asked, sorted. None
	// of them can be asked again.
	InputKeys []string
	// Result is there if and only if Status is Completed.
	Result json.RawMessage
	// Error is there if and only if Status is Failed.
	Error *Error
	// CancelRequested says that somebody asked to cancel the task while it was being
	// run. It never goes back to false.
	CancelRequested bool
	// Resumable says that the task may be run again when its runner is lost. Without
	// it the task then fails.
	Resumable bool
	// LostRuns counts the runners that were lost: each time that Acquire takes the task
	// from a holder that has not renewed its lease. A runner that parks, releases or ends
	// the task is not lost; one that the backend's limit leaves no room to count is left
	// out.
	LostRuns uint64
	// Service names the program that may run the task, see [Store.Orphans]. Empty: none
	// is named.
	Service string
	// Lease tells who runs the task.
	Lease Lease
	// State is the runner's checkpoint. The store does not look into it, and drops
	// it when the task ends.
	State []byte
	// Trace names the spans that the task belongs to.
	Trace Trace
	// Revision counts the changes of what a client can see: everything above but
	// ExpiresAt, LostRuns, Lease, State and Trace. 1 when the task is created.
	Revision uint64
	// Version is the record's version; it grows with every write.
	Version taskstore.Version
}

// A Trace names spans as the traceparent of W3C Trace Context does. The store keeps the
// texts, of at most 256 bytes of UTF-8 each, and does not look into them.
type Trace struct {
	Call string // the call that created the task. Empty: it was not traced
	Run  string // the latest run. Empty: it was not traced
}

// A Progress is how much of the work is done, in whatever unit its runner counts.
type Progress struct {
	Current int64 // not negative
	Total   int64 // how much there is in all; 0: not known
}

// An Error is the JSON-RPC error object that a task failed with.
type Error struct {
	Code    int64
	Message string          // for people; what is not UTF-8 is replaced
	Data    json.RawMessage // nil: none
}

// A Lease tells who runs a task, and until when that is believed.
type Lease struct {
	// Holder is the name that the runner gave. Empty: nobody runs the task; it is
	// parked, or offered to whoever acquires it, or run outside of this package.
	Holder string
	// Token is the fencing token: it grows with every take-over and never shrinks.
	// 0: the task never had a lease.
	Token uint64
	// ExpiresAt is the last instant at which the holder is believed to be alive.
	// Without a Holder it is the last instant at which whoever answered the task is
	// believed to be about to acquire it. Zero: no lease runs out.
	ExpiresAt time.Time
	// IdleSince is since when nobody is known to work on the task: the time at which a
	// caller first found that ExpiresAt had passed, or that of [Run.Release] for a
	// Resumable task. It is set while the suspicion lasts: a sign of life of the runner,
	// any write of its [Run], takes it back. Zero: there is no suspicion.
	//
	// A task that asks something while it is Detached has it too: it is when it asked.
	IdleSince time.Time
	// Detached says that the work is done elsewhere, see [Run.Detach]. ExpiresAt is then
	// the deadline, and Holder who detached the task. The lease stays while the task waits
	// for answers, and its time stands still.
	Detached bool
}

// String tells the status and the revision, and nothing personal.
func (t Task) String() string { return fmt.Sprintf("Task(%s, revision %d)", t.Status, t.Revision) }

// GoString is String; it keeps personal data out of %#v too.
func (t Task) GoString() string { return t.String() }

// LogValue is String; it keeps personal data out of structured logs too.
func (t Task) LogValue() slog.Value { return slog.StringValue(t.String()) }

// over reports whether the lease, or the offer, has run out at now.
func (l Lease) over(now time.Time) bool { return !l.ExpiresAt.IsZero() && now.After(l.ExpiresAt) }

// outlives reports whether t expires later than u, or never and u does.
func (t *Task) outlives(u *Task) bool {
	return !later(t.ExpiresAt, u.ExpiresAt).Equal(u.ExpiresAt)
}

// clone returns a copy that shares no memory with t.
func (t Task) clone() Task {
	t.Request = bytes.Clone(t.Request)
	t.InputRequests = cloneInputs(t.InputRequests)
	t.InputResponses = cloneInputs(t.InputResponses)
	t.InputKeys = slices.Clone(t.InputKeys)
	t.Result = bytes.Clone(t.Result)
	t.State = bytes.Clone(t.State)
	if t.Error != nil {
		e := *t.Error
		e.Data = bytes.Clone(e.Data)
		t.Error = &e
	}
	return t
}

func cloneInputs(m map[string]json.RawMessage) map[string]json.RawMessage {
	m = maps.Clone(m)
	for key, value := range m {
		m[key] = bytes.Clone(value)
	}
	return m
}

// sameVisible reports whether a client sees the same in a and b.
func sameVisible(a, b *Task) bool {
	return a.Status == b.Status &&
		a.StatusMessage == b.StatusMessage &&
		a.Progress == b.Progress &&
		a.TTL == b.TTL &&
		a.PollInterval == b.PollInterval &&
		a.CancelRequested == b.CancelRequested &&
		sameInputs(a.InputRequests, b.InputRequests) &&
		sameInputs(a.InputResponses, b.InputResponses) &&
		sameRaw(a.Result, b.Result) &&
		sameError(a.Error, b.Error)
}

// same reports whether a and b are one state, whatever their versions.
func same(a, b *Task) bool {
	return sameVisible(a, b) && sameLease(a.Lease, b.Lease) && a.Resumable == b.Resumable && a.Trace == b.Trace && bytes.Equal(a.State, b.State)
}

func sameLease(a, b Lease) bool {
	return a.Holder == b.Holder && a.Token == b.Token && a.ExpiresAt.Equal(b.ExpiresAt) && a.IdleSince.Equal(b.IdleSince) &&
		a.Detached == b.Detached
}

// sameRaw tells no value from any other, also from the empty one.
func sameRaw(a, b json.RawMessage) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func sameInputs(a, b map[string]json.RawMessage) bool { return maps.EqualFunc(a, b, sameRaw) }

func sameError(a, b *Error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Message == b.Message && sameRaw(a.Data, b.Data)
}
