package ui

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// streamTasks sends the list and the sums of a query, again after each change, and single
// rows in between.
func (s *server) streamTasks(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	out, end, ok := s.stream(w)
	if !ok {
		return
	}
	defer end()
	p := s.looker.open(q)
	defer s.looker.close(p)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for out.err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			out.beat()
			continue
		case <-p.wake:
		}
		v, problem, due := p.take()
		if problem != "" {
			out.problem(problem)
		}
		if v != nil {
			for _, one := range v.Rows {
				s.nameOwner(one)
			}
			out.send("tasks", v)
		}
		s.sendRows(r.Context(), out, due)
		pause(r.Context(), breath)
	}
}

// sendRows reads the tasks of some rows again and sends them.
func (s *server) sendRows(ctx context.Context, out *stream, due map[string]string) {
	if len(due) == 0 {
		return
	}
	now, err := taskstore.Now(ctx, s.backend)
	if err != nil {
		return // the next look reports it
	}
	for id, owner := range due {
		t, err := s.inspector.Get(ctx, owner, id)
		switch {
		case errors.Is(err, tasks.ErrNotFound):
			out.send("gone", map[string]string{"id": id})
		case err == nil:
			one := rowOf(looked{t, cut(look.ToolOf(t.Task)), s.labels.of(owner)}, now)
			s.nameOwner(one)
			out.send("row", one)
		}
	}
}

// nameOwner adds the owner's name to a row, if Options.Owners allows it.
func (s *server) nameOwner(r *row) {
	if s.Owners {
		r.OwnerName = cut(r.owner)
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
