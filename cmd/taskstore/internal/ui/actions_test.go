package ui

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/tasks"
)

func cancelBody(t *testing.T, id string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"id": id})
	require.NoError(t, err)
	return string(body)
}

// The server of a page that only reads refuses every cancel, however a client asks for it.
func TestAPageThatOnlyReadsRefusesToCancel(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	s := serve(t, w, Options{})
	r := s.ask("POST", "/api/cancel", cancelBody(t, id), csrfHeader, s.csrf())
	assert.Equal(t, http.StatusForbidden, r.StatusCode)
	assert.Contains(t, r.body, "--write")
	task, err := w.store.Get(t.Context(), "n:alice", id)
	require.NoError(t, err)
	assert.False(t, task.CancelRequested)
}

// A request that changes something carries a value that only the page can read.
func TestCancelNeedsTheValueOfThePage(t *testing.T) {
	w := newWorld(t)
	run := w.create("n:alice", "render")
	id := run.Task().ID
	s := serve(t, w, Options{Write: true})
	for _, headers := range [][]string{nil, {csrfHeader, ""}, {csrfHeader, "wrong"}, {csrfHeader, serve(t, w, Options{Write: true}).csrf()}} {
		r := s.ask("POST", "/api/cancel", cancelBody(t, id), headers...)
		assert.Equal(t, http.StatusForbidden, r.StatusCode, headers)
	}
	get := func() tasks.Task {
		task, err := w.store.Get(t.Context(), "n:alice", id)
		require.NoError(t, err)
		return task
	}
	require.False(t, get().CancelRequested)
	cancel := func() string {
		r := s.ask("POST", "/api/cancel", cancelBody(t, id), csrfHeader, s.csrf())
		require.Equal(t, http.StatusOK, r.StatusCode, r.body)
		return r.body
	}
	assert.Contains(t, cancel(), "its runner is asked to end it")
	assert.True(t, get().CancelRequested)
	_, err := run.Cancelled(t.Context())
	require.NoError(t, err)
	assert.Contains(t, cancel(), "it has already ended")
	assert.Equal(t, http.StatusMethodNotAllowed, s.ask("GET", "/api/cancel", "").StatusCode)
	assert.Equal(t, http.StatusBadRequest, s.ask("POST", "/api/cancel", "rubbish", csrfHeader, s.csrf()).StatusCode)
	missing := s.ask("POST", "/api/cancel", cancelBody(t, "b9f4c7e2-0000-4000-8000-000000000000"), csrfHeader, s.csrf())
	assert.Equal(t, http.StatusNotFound, missing.StatusCode)
	assert.Contains(t, missing.body, "there is no such task")
}

// A page of one owner reaches no task of another.
func TestAPageOfOneOwnerReachesNoOther(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:bob", "render")
	s := serve(t, w, Options{Owner: "n:alice", Write: true, Payload: true})
	assert.Equal(t, http.StatusNotFound, s.ask("POST", "/api/cancel", cancelBody(t, id), csrfHeader, s.csrf()).StatusCode)
	assert.Equal(t, http.StatusNotFound, s.ask("GET", "/api/payload?id="+id, "").StatusCode)
	assert.Equal(t, http.StatusNotFound, s.ask("GET", "/api/events/task?id="+id, "").StatusCode)
	v := next(t, s.listen("/api/events/tasks?owner=n:bob"), "tasks", always[view])
	assert.Zero(t, v.Tasks)
}

// Names of owners and payloads are told when the operator has asked for them.
func TestOwnersAndPayloadsAreShownWhenTheyAreAskedFor(t *testing.T) {
	w := newWorld(t)
	run := w.create("n:alice", "render")
	id := run.Task().ID
	_, err := run.Fail(t.Context(), tasks.Error{Code: -32000, Message: "out of paper"})
	require.NoError(t, err)
	told := func(s *site) (text string) {
		for _, path := range []string{"/api/events/tasks", "/api/events/task?id=" + id} {
			for e := range s.listen(path) {
				text += e.data
				break
			}
		}
		return text + s.ask("GET", "/api/config", "").body + s.ask("GET", "/api/payload?id="+id, "").body
	}
	closed := serve(t, w, Options{})
	for _, secret := range []string{"alice", "argument", "out of paper"} {
		assert.NotContains(t, told(closed), secret)
	}
	assert.Equal(t, http.StatusForbidden, closed.ask("GET", "/api/payload?id="+id, "").StatusCode)
	open := told(serve(t, w, Options{Owners: true, Payload: true}))
	for _, asked := range []string{`"owner_name":"n:alice"`, "argument", "out of paper"} {
		assert.Contains(t, open, asked)
	}
}
