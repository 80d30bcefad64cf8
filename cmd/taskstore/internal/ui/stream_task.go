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

// A taskPage is the data of the page of one task.
type taskPage struct {
	Now       time.Time       `json:"now"`
	Owner     string          `json:"owner"` // its label
	OwnerName string          `json:"owner_name,omitempty"`
	Task      look.Task       `json:"task"` // without its owner
	Progress  *tasks.Progress `json:"progress,omitempty"`
	Timeline  []moment        `json:"timeline"`
	Watched   bool            `json:"watched"` // the store reports its changes
}

func (s *server) taskPage(t tasks.Stored, now time.Time, watched bool) taskPage {
	p := taskPage{Now: now, Owner: s.labels.of(t.Owner), Task: look.TaskOf(t, now, false), Timeline: timelineOf(t.Task, now), Watched: watched}
	if s.Owners {
		p.OwnerName = p.Task.Owner
	}
	p.Task.Owner, p.Task.OwnerBase64 = "", ""
	if t.Progress != (tasks.Progress{}) {
		p.Progress = &t.Progress
	}
	return p
}

// find finds a task by its id and, if known, the label of its owner.
func (s *server) find(ctx context.Context, label, id string) (tasks.Stored, error) {
	owner := s.Owner
	if owner == "" {
		owner = s.labels.owner(label)
	}
	return look.Find(ctx, s.inspector, owner, id, look.NoBar)
}

// streamTask sends one task, and sends it again after each change.
func (s *server) streamTask(w http.ResponseWriter, r *http.Request) {
	ctx, stop := context.WithCancel(r.Context())
	t, err := s.find(ctx, r.FormValue("owner"), r.FormValue("id"))
	if err != nil && !look.Unreadable(err) {
		stop()
		fail(w, err)
		return
	}
	out, end, ok := s.stream(w)
	if !ok {
		stop()
		return
	}
	defer end()
	f := &taskStream{server: s, out: out, owner: t.Owner, id: t.ID, wake: make(chan struct{}, 1), unwatched: make(chan struct{})}
	watching := make(chan struct{})
	go func() { defer close(watching); f.watch(ctx) }()
	f.run(ctx)
	stop()
	<-watching
}

// A taskStream sends the states of a task.
type taskStream struct {
	*server
	out       *stream
	owner, id string
	wake      chan struct{} // holds a token when the task may have changed
	unwatched chan struct{} // closed if the store does not report its changes
	sent      sentState
}

// A sentState distinguishes the states that are worth an event.
type sentState struct {
	version         taskstore.Version
	orphan, watched bool
	problem         string
}

func (f *taskStream) watch(ctx context.Context) {
	defer close(f.unwatched)
	for _, err := range f.inspector.Watch(ctx, f.owner, f.id) {
		if err != nil {
			return
		}
		rouse(f.wake)
	}
}

func (f *taskStream) run(ctx context.Context) {
	tick := time.NewTicker(min(f.Interval, heartbeat))
	defer tick.Stop()
	for f.out.err == nil && f.look(ctx) {
		pause(ctx, breath)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.out.beat()
		case <-f.wake:
		}
	}
}

// look sends the state of the task if it is new, and reports whether to go on.
func (f *taskStream) look(ctx context.Context) bool {
	state := sentState{watched: true}
	select {
	case <-f.unwatched:
		state.watched = false
	default:
	}
	t, err := f.inspector.Get(ctx, f.owner, f.id)
	var now time.Time
	if err == nil {
		now, err = taskstore.Now(ctx, f.backend)
	}
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, tasks.ErrNotFound):
		f.out.send("gone", map[string]string{"id": f.id})
		return false
	case err != nil:
		state.problem = look.Explain(err)
		if state != f.sent {
			f.out.problem(state.problem)
		}
	default:
		state.version, state.orphan = t.Version, look.IsOrphan(t.Task, now)
		if state != f.sent {
			f.out.send("task", f.taskPage(t, now, state.watched))
		}
	}
	f.sent = state
	return true
}
