//go:build integration

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// storeOn is a store of tasks on the backend that the URL names.
func storeOn(t *testing.T, url string) *tasks.Store {
	t.Helper()
	b, err := taskstore.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = taskstore.Close(b) })
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	return s
}

// Every command works on SQLite, those that ask all owners too.
func TestTheCommandWorksOnSQLite(t *testing.T) {
	t.Parallel()
	works(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
}

// works runs every command on the store that url names, with two owners.
func works(t *testing.T, url string) {
	t.Helper()
	s := storeOn(t, url)
	create := func(owner string) string {
		task, _, err := s.Create(t.Context(), owner, tasks.CreateParams{Request: []byte(`{"name":"tool"}`)})
		require.NoError(t, err)
		return task.ID
	}
	one, two, three := create("n:alice"), create("n:alice"), create("n:bob")
	for _, c := range []struct {
		args string
		says []string
	}{
		{"ls --all", []string{one, two, three}},
		{"ls --owner n:bob", []string{three}},
		{"owners", []string{"n:alice", "n:bob"}},
		{"get " + three, []string{"n:bob", "working"}},
		{"cancel " + three, []string{"cancelled: task " + three}},
		{"watch " + three + " --owner n:bob", []string{"cancelled"}},
		{"fail " + two, []string{two}},
		{"delete " + two + " --yes", []string{two}},
		{"purge --owner n:alice --yes", []string{"removed         1"}},
		{"bench --duration 200ms --clients 2", nil},
		{"doctor", []string{"nothing is wrong"}},
	} {
		r := runURL(t, url, strings.Fields(c.args)...)
		assert.Equal(t, exitOK, r.code, "%s: %s%s", c.args, r.out, r.err)
		for _, say := range c.says {
			assert.Contains(t, r.out, say, c.args)
		}
	}
	r := runURL(t, url, "owners", "-o", "jsonl")
	assert.Equal(t, 1, strings.Count(r.out, "\n"), "one owner has tasks: %s", r.out)
}
