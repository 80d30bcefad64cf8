package tasks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A message of how far a task was ends with the task; one that the end brings stays.
func TestEndClearsTheStatusMessage(t *testing.T) {
	s := memoryStore(t, nil)
	for name, c := range map[string]struct {
		end  func(r *Run) (Task, error)
		want string
	}{
		"Complete":  {func(r *Run) (Task, error) { return r.Complete(ctx, raw(`1`)) }, ""},
		"Fail":      {func(r *Run) (Task, error) { return r.Fail(ctx, Error{Message: "no luck"}) }, ""},
		"Cancelled": {func(r *Run) (Task, error) { return r.Cancelled(ctx) }, ""},
		"Update": {func(r *Run) (Task, error) {
			return r.Update(ctx, func(t *Task) error { t.Status, t.StatusMessage = Cancelled, "too late"; return nil })
		}, "too late"},
		"no end": {func(r *Run) (Task, error) { return r.RequireInput(ctx, inputs("a")) }, "halfway"},
	} {
		_, run := running(t, s)
		_, err := run.SetStatusMessage(ctx, "halfway")
		require.NoError(t, err)
		got, err := c.end(run)
		require.NoError(t, err)
		assert.Equal(t, c.want, got.StatusMessage, name)
	}
}
