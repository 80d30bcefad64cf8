package tasks

import "slices"

// A Status tells where a task stands.
type Status string

const (
	// Working: somebody works on the task, or is about to.
	Working Status = "working"
	// InputRequired: the task waits for answers, see [Task.InputRequests].
	InputRequired Status = "input_required"
	// Completed: the work is done, see [Task.Result]. Terminal.
	Completed Status = "completed"
	// Failed: the work broke off, see [Task.Error]. Terminal.
	Failed Status = "failed"
	// Cancelled: the work was called off. Terminal.
	Cancelled Status = "cancelled"
)

// transitions is the state machine, all of it: from each status, the ones that
// may come next. Nothing follows a terminal status.
var transitions = map[Status][]Status{
	Working:       {InputRequired, Completed, Failed, Cancelled},
	InputRequired: {Working, Completed, Failed, Cancelled},
	Completed:     nil,
	Failed:        nil,
	Cancelled:     nil,
}

// Terminal reports whether nothing can follow s. It is false for what is not a
// status.
func (s Status) Terminal() bool {
	next, known := transitions[s]
	return known && len(next) == 0
}

// leadsTo reports whether next may follow s.
func (s Status) leadsTo(next Status) bool { return slices.Contains(transitions[s], next) }
