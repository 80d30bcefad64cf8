//go:build integration && unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/tasks"
)

// startUI starts the program and returns it with the address of the page.
func startUI(t *testing.T, path, storeURL string, args ...string) (p *os.Process, url string, errs *bytes.Buffer, wait func() int) {
	t.Helper()
	cmd, _, errs := program(path, storeURL, append([]string{"ui", "--listen", "127.0.0.1:0"}, args...)...)
	address := make(chan string, 1)
	var once sync.Once
	cmd.Stdout = writer(func(text []byte) (int, error) {
		once.Do(func() { first, _, _ := strings.Cut(string(text), " "); address <- strings.TrimSuffix(first, "/") })
		return len(text), nil
	})
	require.NoError(t, cmd.Start())
	ended := false
	wait = func() int { ended = true; _ = cmd.Wait(); return cmd.ProcessState.ExitCode() }
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	select {
	case url = <-address:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "it does not start", errs.String())
	}
	return cmd.Process, url, errs, wait
}

// pageNeedsLittleMemory looks at a store of 100,000 tasks. A signal ends the page while streams
// are open.
func pageNeedsLittleMemory(t *testing.T, path, storeURL string) {
	t.Helper()
	p, url, errs, wait := startUI(t, path, storeURL)
	began := time.Now()
	found, watched := foundBy(t, url)
	assert.Equal(t, 100_000, found)
	assert.Equal(t, 64, watched)
	t.Logf("the first look: %v", time.Since(began))
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			response, err := http.Get(url + "/api/events/tasks?status=cancelled")
			if assert.NoError(t, err) {
				_, _ = new(bytes.Buffer).ReadFrom(response.Body)
				response.Body.Close()
			}
		})
	}
	firstEvent(t, url+"/api/events/tasks?status=cancelled", "tasks")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	if err == nil { // on Linux
		peak, err := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1])
		require.NoError(t, err)
		t.Logf("the most memory: %d MiB", peak/1024)
		assert.Less(t, peak/1024, 64, "MiB")
	}
	began = time.Now()
	require.NoError(t, p.Signal(os.Interrupt))
	assert.Equal(t, exitInterrupted, wait())
	assert.Equal(t, "taskstore: interrupted\n", errs.String())
	assert.Less(t, time.Since(began), 3*time.Second)
	streams.Wait()
}

// With the rights of the servers the page shows one owner as it changes, and cancels; for all
// it says which right is missing.
func TestThePageWorksUnderThePublishedRights(t *testing.T) {
	t.Parallel()
	server := startHealthy(t)
	address := published(t, server)
	b, err := taskstore.OpenRedis(t.Context(), address, nil)
	require.NoError(t, err)
	defer b.Close()
	id := makeTasks(t, b, 3)
	env := func(name string) string { return map[string]string{"TASKSTORE_URL": address}[name] }
	url, _ := serveUI(t, &app{getenv: env}, "--owner", "n:alice", "--write")
	found, watched := foundBy(t, url)
	assert.Equal(t, 3, found)
	assert.Equal(t, 1, watched)
	cancelOn(t, url, id)
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	task, err := s.Get(t.Context(), "n:alice", id)
	require.NoError(t, err)
	assert.Equal(t, tasks.Cancelled, task.Status)

	url, _ = serveUI(t, &app{getenv: env})
	assert.Contains(t, firstEvent(t, url+"/api/events/tasks", "problem"), "grant +scan, or name one owner by --owner")
	grant(t, server, "taskstore", "+scan")
	found, _ = foundBy(t, url)
	assert.Equal(t, 4, found)
}

// cancelOn cancels a task as the page does.
func cancelOn(t *testing.T, url, id string) {
	t.Helper()
	response, err := http.Get(url + "/api/config")
	require.NoError(t, err)
	var config struct{ CSRF string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&config))
	response.Body.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/api/cancel", strings.NewReader(`{"id":"`+id+`"}`))
	require.NoError(t, err)
	r.Header.Set("X-Taskstore-CSRF", config.CSRF)
	response, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// The page shows a refusal of the server without the password, and goes on when the server
// accepts again.
func TestThePageShowsRefusalsOfTheServer(t *testing.T) {
	t.Parallel()
	server := startHealthy(t)
	address := published(t, server)
	require.Contains(t, address, "secret")
	env := func(name string) string { return map[string]string{"TASKSTORE_URL": address}[name] }
	url, _ := serveUI(t, &app{getenv: env}, "--owner", "n:alice")
	found, _ := foundBy(t, url)
	assert.Zero(t, found)
	grant(t, server, "taskstore", "-@all")
	said := firstEvent(t, url+"/api/events/tasks", "problem")
	assert.Contains(t, said, "the user of the store lacks a right: grant +")
	assert.NotContains(t, said, "secret")
	published(t, server)
	found, _ = foundBy(t, url)
	assert.Zero(t, found)
}

func TestThePageOnPostgreSQL(t *testing.T) {
	t.Parallel()
	address := pgtest.Start(t).URL()
	r := runURL(t, address, "migrate")
	require.Equal(t, exitOK, r.code, r.err)
	b, err := taskstore.Open(t.Context(), address)
	require.NoError(t, err)
	defer func() { assert.NoError(t, b.(io.Closer).Close()) }()
	id := makeTasks(t, b, 2)
	env := func(name string) string { return map[string]string{"TASKSTORE_URL": address}[name] }
	url, _ := serveUI(t, &app{getenv: env}, "--owner", "n:alice", "--write")
	found, watched := foundBy(t, url)
	assert.Equal(t, 2, found)
	assert.Equal(t, 1, watched)
	cancelOn(t, url, id)
	assert.Contains(t, firstEvent(t, url+"/api/events/task?id="+id, "task"), `"status":"cancelled"`)
}
