//go:build integration && unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/tasks"
)

// build returns the path of the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "taskstore")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// program returns the program as it is to be started for a store.
func program(path, url string, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	cmd = exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TASKSTORE_URL="+url)
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

// fillMany gives each of so many owners so many tasks: copies of one record.
func fillMany(t *testing.T, url string, owners, each int) {
	t.Helper()
	b, err := taskstore.OpenRedis(t.Context(), url, &taskstore.RedisOptions{AutoPipeline: true})
	require.NoError(t, err)
	defer b.Close()
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	request := json.RawMessage(`{"name":"render","arguments":"` + strings.Repeat("x", 1000) + `"}`)
	model, _, err := s.Create(t.Context(), "n:model", tasks.CreateParams{Request: request})
	require.NoError(t, err)
	_, err = s.Cancel(t.Context(), "n:model", model.ID)
	require.NoError(t, err)
	records, err := b.ListByPrefix(t.Context(), taskstore.Key{Owner: "u:n:model"})
	require.NoError(t, err)
	require.Len(t, records, 1)
	var writers sync.WaitGroup
	for w := range 64 {
		writers.Go(func() {
			for n := w; n < owners*each; n += 64 {
				key := taskstore.Key{
					Owner: fmt.Sprintf("u:n:owner-%04d", n%owners),
					Task:  strings.Replace(records[0].Key.Task, model.ID, uuid.NewString(), 1),
				}
				_, err := b.Put(t.Context(), key, records[0].Value)
				assert.NoError(t, err)
			}
		})
	}
	writers.Wait()
	_, err = s.Purge(t.Context(), "n:model")
	require.NoError(t, err)
}

// The memory that the program needs does not grow with the number of tasks.
func TestManyTasksNeedLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 100,000 tasks")
	}
	server := redistest.Start(t)
	fillMany(t, server.URL(), 1000, 100)
	path := build(t)
	for args, lines := range map[string]int{"ls --all -o jsonl": 100_000, "ls --all -o json": 100_002, "ls --all": 100_001, "owners": 1001, "doctor": 0} {
		cmd, _, errs := program(path, server.URL(), strings.Fields(args)...)
		count := 0 // the output is not kept: a process begins with the peak of the one that starts it
		cmd.Stdout = writer(func(p []byte) (int, error) { count += bytes.Count(p, []byte("\n")); return len(p), nil })
		err := cmd.Run()
		if args == "doctor" { // it finds a server without persistence
			assert.Equal(t, 1, cmd.ProcessState.ExitCode())
		} else {
			require.NoError(t, err, "%s: %s", args, errs)
			assert.Equal(t, lines, count, args)
		}
		assert.Empty(t, errs.String(), args)
		peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024 // KiB on Linux
		t.Logf("%s: %d MiB, %v", args, peak, cmd.ProcessState.UserTime())
		assert.Less(t, peak, int64(64), "%s: MiB", args)
	}
	pageNeedsLittleMemory(t, path, server.URL())
}

// A signal ends the program within a moment, and it says so.
func TestASignalEndsTheProgram(t *testing.T) {
	server := redistest.Start(t)
	fillMany(t, server.URL(), 3, 1)
	path := build(t)
	for _, args := range []string{"top --all", "watch --owner n:owner-0001", "bench --duration 1m"} {
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			cmd, _, errs := program(path, server.URL(), strings.Fields(args)...)
			first := make(chan struct{})
			var once sync.Once
			cmd.Stdout = writer(func(p []byte) (int, error) { once.Do(func() { close(first) }); return len(p), nil })
			require.NoError(t, cmd.Start())
			if !strings.HasPrefix(args, "bench") { // which prints at its end
				<-first
			} else {
				require.Eventually(t, func() bool { return len(ownersOf(t, server.URL())) > 3 }, 30*time.Second, 20*time.Millisecond)
			}
			require.NoError(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode(), "%s: %s", args, errs)
			assert.Equal(t, "taskstore: interrupted\n", errs.String(), args)
			assert.Len(t, ownersOf(t, server.URL()), 3, "bench leaves no owner")
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func ownersOf(t *testing.T, url string) (all []string) {
	t.Helper()
	b, err := taskstore.OpenRedis(t.Context(), url, nil)
	require.NoError(t, err)
	defer b.Close()
	all, err = look.Owners(t.Context(), tasks.NewInspector(b))
	require.NoError(t, err)
	return all
}
