package tasks

import "slices"

// A Status is the state of a task.
type Status string

const (
	// Working: a runner works on the task, or is about to.
	Working Status = "working"
	// InputRequired: the task waits for answers, see [Task.InputRequests].
	InputRequired Status = "input_required"
	// Completed: the work is done, see [Task.Result]. Terminal.
	Completed Status = "completed"
	// Failed: the work failed, see [Task.Error]. Terminal.
	Failed Status = "failed"
	// Cancelled: the work was cancelled. Terminal.
	Cancelled Status = "cancelled"
)

// transitions is the whole state machine: the statuses that may follow each status. A
// terminal status has no successor.
var transitions = map[Status][]Status{
	Working:       {InputRequired, Completed, Failed, Cancelled},
	InputRequired: {Working, Completed, Failed, Cancelled},
	Completed:     nil,
	Failed:        nil,
	Cancelled:     nil,
}

// Terminal reports whether s is final. It is false for an unknown status.
func (s Status) Terminal() bool {
	next, known := transitions[s]
	return known && len(next) == 0
}

// leadsTo reports whether next may follow s.
func (s Status) leadsTo(next Status) bool { return slices.Contains(transitions[s], next) }
