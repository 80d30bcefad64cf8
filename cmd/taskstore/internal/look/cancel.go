package look

import "github.com/taskstore/taskstore/tasks"

// Cancelled describes the effect of a request to cancel a task. was is the status before the
// request, t the task that [tasks.Store.Cancel] returned.
func Cancelled(was tasks.Status, t tasks.Task) string {
	switch {
	case t.Status == tasks.Cancelled && was != tasks.Cancelled:
		return "cancelled"
	case t.Status.Terminal():
		return "it has already ended"
	}
	return "its runner is asked to end it"
}
