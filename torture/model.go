// Package torture puts backends under load, faults and failovers, and checks the results
// that their callers saw against the promises of [taskstore.StorageBackend].
//
// A [History] records concurrent calls, and porcupine decides whether they are
// linearizable: whether each can have happened at one instant between its call and its
// return, all in one order. The package is a module of its own, so that users of taskstore
// do not link porcupine.
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
	PutBatch     Verb = "PutBatch"

	// end follows all calls whose effect a client can have seen. It lets the checker skip
	// the writes that had no effect; see step.
	end Verb = "end"
)

// A Call is a client's request. Data is unique to each write of a history.
type Call struct {
	Verb     Verb
	Task     string
	Place    int // of the record within the task; unused for a batch
	Data     string
	Expected taskstore.Version
	Writes   []Write // of a batch
}

// A Result is the answer to a Call.
type Result struct {
	Unknown  bool // the outcome, by ErrOutcomeUnknown
	Conflict bool
	Version  taskstore.Version // written, read or in conflict; 0: no record exists
	Data     string            // read
	Existed  bool              // deleted
	Index    int               // of the batch's write that is in conflict
}

// A state holds all records of a task, because batches write them together: a call that has
// seen some of them restricts the values that the next one can see in any other.
type state struct {
	records [places]record
	ended   bool
}

// A record has version 0 if it does not exist.
type record struct {
	version taskstore.Version
	data    string
}

// step reports whether a call can have had the result in state s, and the state after it.
//
// A write with an unknown outcome may take effect at any time after its call, or not at
// all. So it returns at the end of time. It is legal at an instant at which it has an
// effect, and after the end of the history, because no client sees whether it had one.
func step(s state, c Call, r Result) (bool, state) {
	switch {
	case c.Verb == end:
		s.ended = true
		return true, s
	case s.ended:
		return r.Unknown, s
	}
	if c.Verb == PutBatch {
		return stepBatch(s, c, r)
	}
	now := s.records[c.Place]
	written := record{now.version + 1, c.Data}
	next := s
	next.records[c.Place] = written
	switch c.Verb {
	case Get:
		return r.Version == now.version && r.Data == now.data, s
	case Put:
		return r.Unknown || r.Version == written.version, next
	case PutIfVersion:
		if now.version != c.Expected {
			return r.Conflict && r.Version == now.version, s
		}
		return r.Unknown || !r.Conflict && r.Version == written.version, next
	case Delete:
		if now.version == 0 {
			return !r.Unknown && !r.Existed, s
		}
		next.records[c.Place] = record{}
		return r.Unknown || r.Existed, next
	}
	panic("torture: unknown verb " + string(c.Verb))
}

var hashSeed = maphash.MakeSeed()

// model is the contract of a backend about the records of a task.
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
		return describeState(s.(state))
	},
}

func describe(c Call, r Result) string {
	var call, result string
	switch c.Verb {
	case PutBatch:
		call = fmt.Sprintf("PutBatch(%s)", describeWrites(c.Writes))
	case PutIfVersion:
		call = fmt.Sprintf("PutIfVersion(%s%s, %d)", nameOf(c.Place), c.Data, c.Expected)
	default:
		call = fmt.Sprintf("%s(%s%s)", c.Verb, nameOf(c.Place), c.Data)
	}
	switch {
	case r.Unknown:
		result = "unknown"
	case r.Conflict && c.Verb == PutBatch:
		result = fmt.Sprintf("write %d: conflict with %d", r.Index, r.Version)
	case c.Verb == PutBatch:
		result = "done"
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
