//go:build integration

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// Every command that does not list owners works under the rights that the document
// recommends. A command that lists owners names the missing right, and works with it.
func TestTheCommandWorksUnderThePublishedRights(t *testing.T) {
	t.Parallel()
	server := startHealthy(t)
	url := published(t, server)
	b, err := taskstore.OpenRedis(t.Context(), url, nil)
	require.NoError(t, err)
	defer b.Close()
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	create := func() string {
		task, _, err := s.Create(t.Context(), "n:alice", tasks.CreateParams{Request: []byte(`{"name":"tool"}`)})
		require.NoError(t, err)
		return task.ID
	}
	one, two, three := create(), create(), create()
	for _, args := range [][]string{
		{"ls", "--owner", "n:alice"}, {"get", one, "--owner", "n:alice"}, {"cancel", one, "--owner", "n:alice"}, {"watch", one, "--owner", "n:alice"},
		{"fail", two, "--owner", "n:alice"}, {"delete", two, "--owner", "n:alice", "--yes"}, {"bench", "--duration", "200ms", "--clients", "2"},
		{"doctor"},
	} {
		r := runURL(t, url, args...)
		assert.Equal(t, exitOK, r.code, "%v: %s", args, r.err)
		assert.NotEmpty(t, r.out, args)
	}
	needing := [][]string{{"ls", "--all"}, {"owners"}, {"get", three}, {"cancel", three}}
	for _, args := range needing {
		r := runURL(t, url, args...)
		assert.Equal(t, exitFailed, r.code, args)
		assert.Contains(t, r.err, "grant +scan, or name one owner by --owner", args)
	}
	grant(t, server, "taskstore", "+scan")
	for _, args := range append(needing, []string{"purge", "--owner", "n:alice", "--yes"}) {
		r := runURL(t, url, args...)
		assert.Equal(t, exitOK, r.code, "%v: %s", args, r.err)
		assert.NotContains(t, r.out, two)
	}
	grant(t, server, "taskstore", "-zadd")
	r := runURL(t, url, "bench", "--duration", "200ms")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.err, "grant +zadd")
}
