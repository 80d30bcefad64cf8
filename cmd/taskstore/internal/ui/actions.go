package ui

import (
	"net/http"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// csrfHeader carries a secret that only the page itself can read.
const csrfHeader = "X-Taskstore-CSRF"

// cancel requests the end of a task, by a store with default options as the command does.
func (s *server) cancel(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.Write:
		refuse(w, http.StatusForbidden, "this page only reads; start it with --write to cancel tasks")
		return
	case !same(r.Header.Get(csrfHeader), s.csrf):
		refuse(w, http.StatusForbidden, "the request lacks this page's token; reload the page")
		return
	}
	var sent struct{ ID, Owner string }
	if !decode(w, r, &sent) {
		return
	}
	t, err := s.find(r.Context(), sent.Owner, sent.ID)
	if err != nil && !look.Unreadable(err) {
		fail(w, err)
		return
	}
	store, err := tasks.New(s.backend, nil)
	if err != nil {
		fail(w, err)
		return
	}
	after, err := store.Cancel(r.Context(), t.Owner, t.ID)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"done": look.Cancelled(t.Status, after)})
}

// payload sends the client's data of a task, such as its request and its result, if
// Options.Payload allows it.
func (s *server) payload(w http.ResponseWriter, r *http.Request) {
	if !s.Payload {
		refuse(w, http.StatusForbidden, "payloads are not shown; start the page with --payload")
		return
	}
	t, err := s.find(r.Context(), r.FormValue("owner"), r.FormValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	now, err := taskstore.Now(r.Context(), s.backend)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, look.TaskOf(t, now, true).Payload)
}
