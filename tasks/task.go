package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/taskstore/taskstore"
)

// A Task is one state of a task, as it was read or written. It is the caller's own
// copy: changing it does not change the store.
//
// Times are the backend's, in UTC and whole milliseconds; so are durations. Raw JSON is
// kept byte for byte, except for the space around it.
//
// A Task prints as its status and revision only: owner, id and payloads may be
// personal, and the id may be the only secret that guards a task.
type Task struct {
	// ID is a random UUID (version 4, 122 bits from crypto/rand) that Create generates.
	ID string
	// Owner is the owner that the task was created for.
	Owner  string
	Status Status
	// StatusMessage is for people. Bytes that are not UTF-8 are replaced by U+FFFD. The
	// end of the task clears it, since the progress that it told of is over, unless the
	// step that ends the task sets another.
	StatusMessage string
	// Progress tells in numbers how far the work is, as StatusMessage does in words;
	// the end of the task clears it. Zero: no progress was reported.
	Progress  Progress
	CreatedAt time.Time
	// UpdatedAt is when Revision last grew.
	UpdatedAt time.Time
	// TTL is how long clients may count on the task, counted from CreatedAt; 0: without
	// end. When the task ends, TTL is set to its age plus [Options.Retention].
	TTL time.Duration
	// ExpiresAt is the last instant at which the task exists, unless a write moves it.
	// Zero: the task does not expire. It is later than TTL says while a runner works on
	// the task or a client needs time to answer, up to [Options.MaxTTL] and a lease.
	ExpiresAt time.Time
	// PollInterval is how often a client should ask; always positive.
	PollInterval time.Duration
	// Request is the input of the task, enough to run it again. Nil: no request. If the
	// backend's limit leaves no room for both the request and the outcome, the task
	// loses its request when it ends.
	Request json.RawMessage
	// InputRequests are the questions that wait for an answer, by key. It is non-empty
	// if and only if Status is InputRequired.
	InputRequests map[string]json.RawMessage
	// InputResponses are the answers since the last RequireInput, by key: the runner
	// reads them when it goes on.
	InputResponses map[string]json.RawMessage
	// InputKeys are the keys of all questions that the task ever asked, sorted. A key
	// cannot be used again.
	InputKeys []string
	// Result is set if and only if Status is Completed.
	Result json.RawMessage
	// Error is set if and only if Status is Failed.
	Error *Error
	// CancelRequested says that a client asked to cancel the task while a runner had
	// it. Once true, it stays true.
	CancelRequested bool
	// Resumable says that another runner may take the task when its runner is lost. If
	// it is false, the task then fails.
	Resumable bool
	// LostRuns counts the runners that were lost: the times that Acquire took the task
	// from a holder that had not renewed its lease. A runner that parks, releases or
	// ends the task is not lost. If the backend's limit leaves no room for the count,
	// it does not grow.
	LostRuns uint64
	// Service names the program that may run the task, see [Store.Orphans]. Empty: the
	// task names no service.
	Service string
	// Lease names the runner of the task.
	Lease Lease
	// State is the runner's checkpoint. The store does not look into it, and drops it
	// when the task ends.
	State []byte
	// Trace names the spans that the task belongs to.
	Trace Trace
	// Revision counts the changes that a client can see: those of the fields above,
	// except ExpiresAt, LostRuns, Lease, State and Trace. It is 1 when the task is
	// created.
	Revision uint64
	// Version is the record's version; it grows with every write.
	Version taskstore.Version

	// key is the hash of the idempotency key. Empty: there is none, or the caller has put
	// the Task together by hand.
	key string
	// sum is the digest of a task's first state under a lease. By it RunOf tells a Task
	// that the caller has changed. 0: any other state.
	sum uint64
}

var digestSeed = maphash.MakeSeed()

// digest returns a hash of all that the store keeps of t. The request, which may be big,
// is hashed without a copy.
func (t *Task) digest() uint64 {
	rest := *t
	rest.Request = nil
	return maphash.Comparable(digestSeed, struct {
		owner, id, rest string
		request         uint64
		expires         int64
		version         taskstore.Version
	}{t.Owner, t.ID, string((&record{Task: rest}).encode()), maphash.Bytes(digestSeed, t.Request), t.ExpiresAt.UnixMilli(), t.Version})
}

// sign sets the sum of t, which the store has just read or created.
func (t *Task) sign() {
	if t.Version == 1 && t.Lease.Holder != "" {
		t.sum = t.digest()
	}
}

// signed reports whether t is a first state under a lease, as the store had it.
func (t *Task) signed() bool { return t.sum != 0 && t.sum == t.digest() }

// A Trace names spans as the traceparent of W3C Trace Context does. Each text is UTF-8
// of at most 256 bytes; the store does not look into it.
type Trace struct {
	Call string // the call that created the task. Empty: it was not traced
	Run  string // the latest run. Empty: it was not traced
}

// A Progress is how much of the work is done, in a unit that the runner chooses.
type Progress struct {
	Current int64 // not negative
	Total   int64 // the whole amount; 0: not known
}

// An Error is the JSON-RPC error object that a task failed with.
type Error struct {
	Code    int64
	Message string          // for people; bytes that are not UTF-8 are replaced
	Data    json.RawMessage // nil: no data
}

// A Lease names the runner of a task and says until when the runner counts as alive.
type Lease struct {
	// Holder is the name that the runner gave. Empty: the task has no runner; it is
	// parked, or offered to runners, or run outside of this package.
	Holder string
	// Token is the fencing token: it grows with every take-over and does not shrink. 0:
	// the task has not had a lease.
	Token uint64
	// ExpiresAt is the last instant at which the holder counts as alive. Without a
	// Holder it is the last instant at which the caller that brought the last answer is
	// expected to acquire the task. Zero: no lease runs out.
	ExpiresAt time.Time
	// IdleSince is the time since which the task is suspected to have no runner: the
	// time at which a caller first found that ExpiresAt had passed, or that of
	// [Run.Release] for a Resumable task. Any write of the [Run] is a sign of life and
	// clears it. Zero: no suspicion.
	//
	// On a Detached task that waits for answers it is the time of the question.
	IdleSince time.Time
	// Detached says that another process does the work, see [Run.Detach]. ExpiresAt is
	// then the deadline, and Holder the runner that detached the task. While the task
	// waits for answers it keeps the lease, and the time of the lease stands still.
	Detached bool
}

// String returns the status and the revision, without personal data.
func (t Task) String() string { return fmt.Sprintf("Task(%s, revision %d)", t.Status, t.Revision) }

// GoString is String; it keeps personal data out of %#v too.
func (t Task) GoString() string { return t.String() }

// LogValue is String; it keeps personal data out of structured logs too.
func (t Task) LogValue() slog.Value { return slog.StringValue(t.String()) }

// over reports whether the lease, or the offer, has run out at now.
func (l Lease) over(now time.Time) bool { return !l.ExpiresAt.IsZero() && now.After(l.ExpiresAt) }

// outlives reports whether t expires later than u; a task without expiry outlives any
// that has one.
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

// same reports whether a and b are one state; versions do not count.
func same(a, b *Task) bool {
	return sameVisible(a, b) && sameLease(a.Lease, b.Lease) && a.Resumable == b.Resumable && a.Trace == b.Trace && bytes.Equal(a.State, b.State)
}

func sameLease(a, b Lease) bool {
	return a.Holder == b.Holder && a.Token == b.Token && a.ExpiresAt.Equal(b.ExpiresAt) && a.IdleSince.Equal(b.IdleSince) &&
		a.Detached == b.Detached
}

// sameRaw compares a and b; nil and empty differ.
func sameRaw(a, b json.RawMessage) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func sameInputs(a, b map[string]json.RawMessage) bool { return maps.EqualFunc(a, b, sameRaw) }

func sameError(a, b *Error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Message == b.Message && sameRaw(a.Data, b.Data)
}
