package tasks

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACancelEndsTheWorkersContext(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for name, c := range map[string]struct {
			end  func(*Run) error
			want error
		}{
			"cancel": {func(r *Run) error { _, err := s.Cancel(ctx, owner, r.id); return err }, ErrCancelled},
			"cancel of a task that asks": {func(r *Run) error {
				if _, err := r.RequireInput(ctx, inputs("a")); err != nil {
					return err
				}
				got, err := s.Cancel(ctx, owner, r.id)
				assert.Equal(t, Cancelled, got.Status, "the task has no runner that could see a request")
				return err
			}, ErrCancelled},
			"another ends it": {func(r *Run) error { _, err := s.Fail(ctx, owner, r.id, Error{}); return err }, ErrTerminal},
			"it is handed on": {func(r *Run) error { _, err := r.Detach(ctx, 0, nil); return err }, ErrLeaseLost},
			"it is handed on, and then cancelled": {func(r *Run) error {
				_, err := r.Detach(ctx, 0, nil)
				require.NoError(t, err)
				_, err = s.Cancel(ctx, owner, r.id)
				return err
			}, ErrLeaseLost},
			"it is deleted":     {func(r *Run) error { return s.Delete(ctx, owner, r.id) }, ErrNotFound},
			"the program's own": {nil, context.Canceled},
		} {
			_, run := detached(t, s, CreateParams{}, 0)
			working, cancel := run.Context(ctx)
			assert.NoError(t, working.Err(), name)
			if c.end == nil {
				cancel()
			} else {
				require.NoError(t, c.end(run), name)
			}
			<-working.Done()
			assert.ErrorIs(t, context.Cause(working), c.want, name)
			cancel()
			cancel()
			if c.end != nil {
				late, cancel := run.Context(ctx)
				<-late.Done()
				assert.ErrorIs(t, context.Cause(late), c.want, name+", before it looks")
				cancel()
			}
		}
	})
}
