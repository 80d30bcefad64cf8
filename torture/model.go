// Package torture puts backends under load, faults and failovers, and checks what
// their callers saw against what [taskstore.StorageBackend] promises.
//
// A [History] records concurrent calls, and porcupine decides whether they are
// linearizable: whether each can have happened at one instant between its call and
// its return, all in one order. It is a module of its own, so that nobody who uses
// taskstore links it.
package torture

import (
	"fmt"
	"hash/maphash"

	"github.com/anishathalye/porcupine"

	"github.com/taskstore/taskstore"
)

// A Verb is a method of a backend, or the end of a history.
type Verb string

const (
	Get          Verb = "Get"
	Put          Verb = "Put"
	PutIfVersion Verb = "PutIfVersion"
	Delete       Verb = "Delete"

	// end comes after everything that somebody can have seen. It lets the checker
	// pass by what had no effect: see step.
	end Verb = "end"
)

// A Call is what a client asked for. No two writes of a history have the same Data.
type Call struct {
	Verb     Verb
	Task     string
	Data     string
	Expected taskstore.Version
}

// A Result is what it was told.
type Result struct {
	Unknown  bool // the outcome, by ErrOutcomeUnknown
	Conflict bool
	Version  taskstore.Version // written, read or in conflict; 0: there is no record
	Data     string            // read
	Existed  bool              // deleted
}

// A state is that of one record, version 0 where there is none.
type state struct {
	version taskstore.Version
	data    string
	ended   bool
}

// step reports whether a call can have had the result in state s, and the state
// after it.
//
// A write whose outcome is unknown may take effect at any time from its call on, or
// never. So it returns at the end of time, and is legal where it has an effect; and
// after the end of the history, where nobody sees whether it had one.
func step(s state, c Call, r Result) (bool, state) {
	switch {
	case c.Verb == end:
		s.ended = true
		return true, s
	case s.ended:
		return r.Unknown, s
	}
	next := state{version: s.version + 1, data: c.Data}
	switch c.Verb {
	case Get:
		return r.Version == s.version && r.Data == s.data, s
	case Put:
		return r.Unknown || r.Version == next.version, next
	case PutIfVersion:
		if s.version != c.Expected {
			return r.Conflict && r.Version == s.version, s
		}
		return r.Unknown || !r.Conflict && r.Version == next.version, next
	case Delete:
		if s.version == 0 {
			return !r.Unknown && !r.Existed, s
		}
		return r.Unknown || r.Existed, state{}
	}
	panic("torture: unknown verb " + string(c.Verb))
}

var hashSeed = maphash.MakeSeed()

// model is the contract of a backend about one record.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, call, result any) (bool, any) {
		return step(s.(state), call.(Call), result.(Result))
	},
	Hash: func(s any) uint64 { return maphash.Comparable(hashSeed, s.(state)) },
	DescribeOperation: func(call, result any) string {
		return describe(call.(Call), result.(Result))
	},
	DescribeState: func(s any) string {
		st := s.(state)
		if st.version == 0 {
			return "no record"
		}
		return fmt.Sprintf("version %d: %s", st.version, st.data)
	},
}

func describe(c Call, r Result) string {
	var call, result string
	switch c.Verb {
	case PutIfVersion:
		call = fmt.Sprintf("PutIfVersion(%s, %d)", c.Data, c.Expected)
	default:
		call = fmt.Sprintf("%s(%s)", c.Verb, c.Data)
	}
	switch {
	case r.Unknown:
		result = "unknown"
	case r.Conflict:
		result = fmt.Sprintf("conflict with %d", r.Version)
	case c.Verb == Delete:
		result = fmt.Sprint(r.Existed)
	case c.Verb == Get && r.Version == 0:
		result = "not found"
	case c.Verb == Get:
		result = fmt.Sprintf("%d: %s", r.Version, r.Data)
	case c.Verb == end:
		return "end"
	default:
		result = fmt.Sprint(r.Version)
	}
	return call + " → " + result
}
