package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A result holds the exit code and the output of a run of the command.
type result struct {
	code     int
	out, err string
}

// run runs the command on b.
func run(t *testing.T, b taskstore.StorageBackend, args ...string) result {
	t.Helper()
	return runWith(t, b, func(*app) {}, args...)
}

func runWith(t *testing.T, b taskstore.StorageBackend, alter func(a *app), args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(string) string { return "" }}
	a.open = func(context.Context) (taskstore.StorageBackend, error) { return b, nil }
	alter(a)
	code := a.run(t.Context(), args)
	return result{code, out.String(), errs.String()}
}

// golden compares text with a file, in which ids are numbered in order.
func golden(t *testing.T, name, text string) {
	t.Helper()
	seen := make(map[string]string)
	text = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).ReplaceAllStringFunc(text, func(id string) string {
		if seen[id] == "" {
			seen[id] = strings.Repeat("0", 7) + string(rune('1'+len(seen))) + id[8:9] + "0000-4000-8000-000000000000"
		}
		return seen[id]
	})
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), text)
}

// A filled backend has tasks of every kind. It is to be made within a synctest bubble.
type filled struct {
	*taskstore.MemoryBackend
	working, orphan, asked, completed, failed, anonymous tasks.Task
}

func fill(t *testing.T) *filled {
	t.Helper()
	b := taskstore.NewMemoryBackend(nil)
	f := fillOn(t, b)
	f.MemoryBackend = b
	return f
}

// fillOn gives b the tasks of a filled backend.
func fillOn(t *testing.T, b taskstore.StorageBackend) *filled {
	t.Helper()
	f := &filled{}
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	ctx := t.Context()
	create := func(owner, tool string, p tasks.CreateParams) tasks.Task {
		p.Request = json.RawMessage(`{"method":"tools/call","params":{"name":"` + tool + `","arguments":{"secret":"argument"}}}`)
		p.TTL = 5 * time.Hour
		task, _, err := s.Create(ctx, owner, p)
		require.NoError(t, err)
		time.Sleep(time.Second)
		return task
	}
	f.orphan = create("n:bob", "render", tasks.CreateParams{Holder: "replica-2"})
	time.Sleep(10 * time.Minute)
	f.completed = create("n:alice", "search", tasks.CreateParams{})
	f.completed, err = s.Complete(ctx, "n:alice", f.completed.ID, json.RawMessage(`{"content":["a result"]}`))
	require.NoError(t, err)
	f.failed = create("n:alice", "render", tasks.CreateParams{})
	f.failed, err = s.Fail(ctx, "n:alice", f.failed.ID, tasks.Error{Code: -32000, Message: "out of paper", Data: json.RawMessage(`{"tray":2}`)})
	require.NoError(t, err)
	f.asked = create("n:alice", "render", tasks.CreateParams{Holder: "replica-1", Service: "printer", Resumable: true})
	f.asked, err = s.RunOf(f.asked).RequireInput(ctx, map[string]json.RawMessage{"paper": json.RawMessage(`{"ask":"A4?"}`)})
	require.NoError(t, err)
	f.anonymous = create("a:3f", "search", tasks.CreateParams{})
	f.working = create("n:alice", "render", tasks.CreateParams{Holder: "replica-1", StatusMessage: "page 3 \x1b[31mof\x1b[0m 9\u202e\n\u009b1mnow"})
	return f
}
