package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// serveUI runs the command until the test ends, and returns the address that it prints.
func serveUI(t *testing.T, a *app, args ...string) (url, line string) {
	t.Helper()
	out, in := io.Pipe()
	var errs strings.Builder
	a.in, a.out, a.err = strings.NewReader(""), in, &errs
	if a.getenv == nil {
		a.getenv = func(string) string { return "" }
	}
	if a.open == nil {
		a.open = a.openStore
	}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- a.run(ctx, append([]string{"ui", "--listen", "127.0.0.1:0"}, args...))
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		assert.Equal(t, exitInterrupted, <-code)
		assert.Equal(t, "taskstore: interrupted\n", errs.String())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, errs.String())
	url, _, _ = strings.Cut(line, " ")
	return strings.TrimSuffix(url, "/"), line
}

// firstEvent returns the data of the first event of a stream that is one of these.
func firstEvent(t *testing.T, url string, names ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	wanted := false
	for lines.Scan() {
		name, isName := strings.CutPrefix(lines.Text(), "event: ")
		if isName {
			wanted = false
			for _, n := range names {
				wanted = wanted || n == name
			}
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && wanted {
			return data
		}
	}
	require.FailNow(t, "the stream ended", "%v", lines.Err())
	return ""
}

// foundBy returns how many tasks a page shows at first, and whether the store tells of changes.
func foundBy(t *testing.T, url string) (found, watched int) {
	t.Helper()
	var v struct {
		Found int
		Feed  struct{ Watched int }
	}
	require.NoError(t, json.Unmarshal([]byte(firstEvent(t, url+"/api/events/tasks", "tasks")), &v))
	return v.Found, v.Feed.Watched
}

// makeTasks makes so many tasks of n:alice, and one of n:bob.
func makeTasks(t *testing.T, b taskstore.StorageBackend, n int) (id string) {
	t.Helper()
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	_, _, err = s.Create(t.Context(), "n:bob", tasks.CreateParams{})
	require.NoError(t, err)
	for range n {
		task, _, err := s.Create(t.Context(), "n:alice", tasks.CreateParams{Request: json.RawMessage(`{"name":"tool"}`)})
		require.NoError(t, err)
		id = task.ID
	}
	return id
}

// The page shows all owners, or one; the command prints its address and its rights.
func TestThePageIsServed(t *testing.T) {
	b := taskstore.NewMemoryBackend(nil)
	makeTasks(t, b, 3)
	open := func(context.Context) (taskstore.StorageBackend, error) { return b, nil }
	url, line := serveUI(t, &app{open: open})
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/ \(it only reads; --write lets it cancel tasks\)\n$`, line)
	found, watched := foundBy(t, url)
	assert.Equal(t, 4, found)
	assert.Equal(t, 2, watched)
	url, line = serveUI(t, &app{open: open}, "--owner", "n:alice", "--write")
	assert.Contains(t, line, "(it can cancel tasks)")
	found, _ = foundBy(t, url)
	assert.Equal(t, 3, found)
}

// A store that cannot list its owners serves one of them.
func TestThePageOfOneOwnerNeedsNoList(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	makeTasks(t, memory, 2)
	b := struct{ taskstore.StorageBackend }{memory}
	r := run(t, b, "ui", "--listen", "127.0.0.1:0")
	assert.Equal(t, exitFailed, r.code)
	assert.Equal(t, "taskstore: this store cannot list its owners; name one by --owner\n", r.err)
	url, _ := serveUI(t, &app{open: func(context.Context) (taskstore.StorageBackend, error) { return b, nil }}, "--owner", "n:alice")
	found, _ := foundBy(t, url)
	assert.Equal(t, 2, found)
}

func TestThePageOnSQLite(t *testing.T) {
	address := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	b, err := taskstore.Open(t.Context(), address)
	require.NoError(t, err)
	makeTasks(t, b, 2)
	require.NoError(t, b.(io.Closer).Close())
	url, _ := serveUI(t, &app{}, "--owner", "n:alice", "--store", address)
	found, watched := foundBy(t, url)
	assert.Equal(t, 2, found)
	assert.Equal(t, 1, watched)
}

// The command takes a token from a file or the environment only. It refuses a token that can
// be guessed, and without a token an address that other machines reach.
func TestTheTokenOfThePage(t *testing.T) {
	b := taskstore.NewMemoryBackend(nil)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for want, args := range map[string][]string{
		"other machines reach this address: give a token":   {"--listen", "0.0.0.0:0"},
		"the first line of --token-file has fewer than 16":  {"--token-file", file("short\n")},
		"the first line of --token-file has fewer than 16 ": {"--token-file", file("")},
		"give --owner NAME or --all":                        {"--owner", "n:alice", "--all"},
		"--interval must be positive":                       {"--interval", "0s"},
		"unknown flag: --token":                             {"--token", "0123456789abcdef"},
		`unknown command "0123456789abcdef"`:                {"0123456789abcdef"},
	} {
		r := run(t, b, append([]string{"ui"}, args...)...)
		assert.Equal(t, exitUsage, r.code, want)
		assert.Contains(t, r.err, want)
	}
	for _, guessed := range []string{"short", strings.Repeat(" ", 20)} {
		r := runWith(t, b, func(a *app) { a.getenv = func(string) string { return guessed } }, "ui")
		assert.Equal(t, exitUsage, r.code)
		assert.Contains(t, r.err, "TASKSTORE_UI_TOKEN has fewer than 16 characters")
		assert.NotContains(t, r.err, "short\n")
	}

	const token = "0123456789abcdef"
	open := func(context.Context) (taskstore.StorageBackend, error) { return b, nil }
	env := func(name string) string {
		return map[string]string{"TASKSTORE_UI_TOKEN": " " + token + "env\r\n"}[name]
	}
	for want, args := range map[string][]string{token: {"--token-file", file(token + "\nand more\n")}, token + "env": nil} {
		url, line := serveUI(t, &app{open: open, getenv: env}, args...)
		assert.NotContains(t, line, token)
		for sent, status := range map[string]int{"": http.StatusUnauthorized, want: http.StatusOK, want + "x": http.StatusUnauthorized} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/config", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+sent)
			response, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			response.Body.Close()
			assert.Equal(t, status, response.StatusCode)
		}
	}
}
