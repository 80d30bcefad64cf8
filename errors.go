package taskstore

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The kinds of failure. Errors match them through [errors.Is]; the types below
// carry the details.
var (
	// ErrNotFound says that there is no record of that key, or no longer one.
	ErrNotFound = errors.New("taskstore: record not found")
	// ErrVersionConflict says that the record's version was not the expected one.
	ErrVersionConflict = errors.New("taskstore: version conflict")
	// ErrCapacityExceeded says that a write would go beyond a limit. It changed
	// no record. See CapacityError.
	ErrCapacityExceeded = errors.New("taskstore: capacity exceeded")
	// ErrInvalidKey says that an owner or a task is empty, or a part of a key too long.
	ErrInvalidKey = errors.New("taskstore: invalid key")
	// ErrInvalidCursor says that a cursor is malformed or belongs to another
	// prefix. Start the walk again.
	ErrInvalidCursor = errors.New("taskstore: invalid cursor")
	// ErrInvalidArgument says that another argument is out of range or malformed. See
	// ArgumentError.
	ErrInvalidArgument = errors.New("taskstore: invalid argument")
	// ErrCorrupt says that the store holds data that this library does not write:
	// another program damaged it or uses the same keys. See CorruptError.
	ErrCorrupt = errors.New("taskstore: corrupt record")
	// ErrOutcomeUnknown says that a write was sent and its answer was lost: it may
	// have been applied, may not, or may be applied yet. Get returns the present
	// record; a caller that stores in its data which write made them can tell whether
	// it was this one. The cause is wrapped.
	ErrOutcomeUnknown = errors.New("taskstore: outcome unknown")
	// ErrClosed says that the backend was closed.
	ErrClosed = errors.New("taskstore: backend is closed")
)

// A VersionConflictError reports a PutIfVersion that found another version than
// the expected one. It matches [ErrVersionConflict], and [ErrNotFound] too when
// Actual is 0: there is no record to update.
type VersionConflictError struct {
	Key      Key `json:"-"` // left out of the text: see Key
	Expected Version
	Actual   Version // 0: there is no record
}

func (e *VersionConflictError) Error() string {
	switch {
	case e.Actual == 0:
		return fmt.Sprintf("taskstore: version conflict: expected version %d, there is no record", e.Expected)
	case e.Expected == 0:
		return fmt.Sprintf("taskstore: version conflict: expected no record, there is version %d", e.Actual)
	}
	return fmt.Sprintf("taskstore: version conflict: expected version %d, there is version %d", e.Expected, e.Actual)
}

// Is matches ErrVersionConflict, and ErrNotFound if there is no record.
func (e *VersionConflictError) Is(target error) bool {
	return target == ErrVersionConflict || target == ErrNotFound && e.Actual == 0
}

// A Limit names the limit that a CapacityError reports.
type Limit string

const (
	LimitRecords  Limit = "records per collection of an owner"
	LimitData     Limit = "bytes of data per record"
	LimitVersions Limit = "versions per record"
)

// A CapacityError reports a write beyond a limit. It matches
// [ErrCapacityExceeded].
type CapacityError struct {
	Limit Limit
	Max   uint64 // the limit's value
	Asked uint64 // the count or size that the write asked for
}

func (e *CapacityError) Error() string {
	return fmt.Sprintf("taskstore: capacity exceeded: at most %d %s, the write asks for %d", e.Max, e.Limit, e.Asked)
}

// Is matches ErrCapacityExceeded.
func (e *CapacityError) Is(target error) bool { return target == ErrCapacityExceeded }

// A KeyError reports an invalid key. It matches [ErrInvalidKey].
type KeyError struct {
	Key    Key `json:"-"` // left out of the text: see Key
	Reason string
}

func (e *KeyError) Error() string { return "taskstore: invalid key: " + e.Reason }

// Is matches ErrInvalidKey.
func (e *KeyError) Is(target error) bool { return target == ErrInvalidKey }

// An ArgumentError reports an argument, an option or a URL that cannot be used.
// It matches [ErrInvalidArgument].
type ArgumentError struct {
	Argument string // as it is called in the documentation
	Reason   string // the fault and its remedy
}

func (e *ArgumentError) Error() string {
	return "taskstore: invalid " + e.Argument + ": " + e.Reason
}

// Is matches ErrInvalidArgument.
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

// A CorruptError reports a record that this library did not write as it stands.
// It matches [ErrCorrupt]. The call changed no record.
//
// A list's CorruptError whose Key has no Task reports damage to the index that lists are
// made from: the collection cannot be listed.
type CorruptError struct {
	Key    Key    `json:"-"` // left out of the text: see Key
	Reason string // the damage
	Err    error  // the server's error; nil if the record itself shows the damage
}

func (e *CorruptError) Error() string {
	s := "taskstore: corrupt record: " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is matches ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the server's error.
func (e *CorruptError) Unwrap() error { return e.Err }

// A ConnectError reports a server or a file that could not be opened as a store.
type ConnectError struct {
	Store  string // its kind: "Redis", say
	Addr   string // the address or path that was tried, without user name and password
	Reason string // the fault and its remedy
	Err    error  // the cause
}

func (e *ConnectError) Error() string {
	s := "taskstore: cannot use " + e.Store + " at " + e.Addr + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// MarshalJSON prints the cause as text; most causes have no JSON of their own.
func (e *ConnectError) MarshalJSON() ([]byte, error) { return marshalText(e) }

// MarshalJSON prints the cause as text, without the key.
func (e *CorruptError) MarshalJSON() ([]byte, error) { return marshalText(e) }

// marshalText is the JSON of an error of which only the text may be shown.
func marshalText(err error) ([]byte, error) { return json.Marshal(err.Error()) }
