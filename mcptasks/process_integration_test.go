//go:build integration && unix

package mcptasks_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/tasks"
)

// A process is a replica that runs in a process of its own: this test binary,
// started again. Only url and t are set in its replica.
type process struct {
	*replica
	cmd  *exec.Cmd
	log  lockedBuffer
	done chan struct{} // closed when the process has ended

	mu    sync.Mutex
	said  []string // and not taken yet
	fresh chan struct{}
}

// patience is how long a test waits for an event that must happen. It only ends tests
// that have failed.
const patience = 30 * time.Second

// fleetStore returns the place of a test's tasks, which its replicas share.
var fleetStore = func(tb testing.TB) replicaConfig {
	return replicaConfig{URL: redistest.SharedURL(tb), Redis: taskstore.RedisOptions{Prefix: rand.Text()}}
}

// fleetConfig returns the configuration that the replicas of a test have in common.
func fleetConfig(tb testing.TB) replicaConfig {
	tb.Helper()
	c := fleetStore(tb)
	c.Tasks = fast().Tasks
	return c
}

// fleet starts n replicas over one store.
func fleet(tb testing.TB, c replicaConfig, n int) []*process {
	tb.Helper()
	processes := make([]*process, n)
	for i := range processes {
		processes[i] = launch(tb, c)
	}
	for _, p := range processes {
		p.url = strings.TrimPrefix(p.await("listening"), "listening ")
	}
	return processes
}

func launch(tb testing.TB, c replicaConfig) *process {
	tb.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{replica: &replica{t: tb, http: http.DefaultClient}, cmd: exec.Command(binary), done: make(chan struct{}), fresh: make(chan struct{}, 1)}
	p.cmd.Env = append(os.Environ(), replicaEnv+"="+string(config))
	p.cmd.Stderr = &p.log
	// A process group of its own is orphaned when this process dies, so that the kernel
	// continues and ends also the replicas that a test has suspended.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_, err = p.cmd.StdinPipe() // which the replica sees close when this process dies
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.mu.Lock()
			p.said = append(p.said, lines.Text())
			p.mu.Unlock()
			select {
			case p.fresh <- struct{}{}:
			default:
			}
		}
		_ = p.cmd.Wait()
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("log of a replica:\n%s", p.log.String())
		}
	})
	return p
}

// await returns the next line that the process has said or will say and that
// starts with prefix.
func (p *process) await(prefix string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.said, func(line string) bool { return strings.HasPrefix(line, prefix) })
		if i >= 0 {
			line := p.said[i]
			p.said = slices.Delete(p.said, i, i+1)
			p.mu.Unlock()
			return line
		}
		p.mu.Unlock()
		select {
		case <-p.fresh:
		case <-p.done:
			p.t.Fatalf("the replica has ended without saying %q:\n%s", prefix, p.log.String())
		case <-deadline:
			p.t.Fatalf("the replica did not say %q:\n%s", prefix, p.log.String())
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends the process without a warning.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill() // fails if it has ended
	<-p.done
}

// Suspend stops the process at once; its connections stay open. It stops it between
// writes, because on SQLite a process in the middle of one holds the lock of the file
// until it goes on or dies. A write of s proves that the lock is free.
func (p *process) Suspend(s *tasks.Store) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		p.signal(syscall.SIGSTOP)
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		_, _, err := s.Create(ctx, "n:locksmith", tasks.CreateParams{})
		cancel()
		if err == nil {
			return
		}
		p.Resume()
		if time.Now().After(deadline) {
			p.t.Fatalf("the replica is always writing: %v", err)
		}
	}
}

// Resume continues it.
func (p *process) Resume() { p.t.Helper(); p.signal(syscall.SIGCONT) }

// Stop asks the process to end, and waits until it has drained.
func (p *process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("the replica does not end:\n%s", p.log.String())
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("the replica ended badly: %v\n%s", p.cmd.ProcessState, p.log.String())
	}
}

// records reads the tasks of a fleet behind its back.
func records(tb testing.TB, c replicaConfig) *tasks.Store {
	tb.Helper()
	s, err := tasks.New(openFleet(tb, c), &c.Tasks)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// stored returns the task as it is stored.
func stored(tb testing.TB, s *tasks.Store, id string) tasks.Task {
	tb.Helper()
	task, err := s.Get(tb.Context(), "n:alice", id)
	if err != nil {
		tb.Fatal(err)
	}
	return task
}
