package look

import "github.com/taskstore/taskstore/tasks"

// Cancelled says what a request to cancel a task did: was is its status before, t the task
// that [tasks.Store.Cancel] returned.
func Cancelled(was tasks.Status, t tasks.Task) string {
	switch {
	case t.Status == tasks.Cancelled && was != tasks.Cancelled:
		return "cancelled"
	case t.Status.Terminal():
		return "it has ended before"
	}
	return "its runner is asked to end it"
}
