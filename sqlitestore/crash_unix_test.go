//go:build unix

package sqlitestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// wantCreated checks that the file at path is sound and has every create that a process
// acknowledged.
func wantCreated(t *testing.T, path string, owners map[string]int) {
	t.Helper()
	b := open(t, path, nil)
	findings, err := b.Check(t.Context())
	require.NoError(t, err)
	for _, f := range findings {
		assert.NotContains(t, f.Setting, "quick_check")
	}
	for owner, acknowledged := range owners {
		has := make(map[string]bool)
		for r, err := range taskstore.All(t.Context(), b, taskstore.Key{Owner: owner}) {
			require.NoError(t, err)
			has[r.Key.Task] = true
		}
		for i := range acknowledged {
			if !assert.True(t, has[fmt.Sprint(i)], "create %d of %d is lost", i, acknowledged) {
				break
			}
		}
	}
	_, err = b.Put(context.Background(), aKey, taskstore.Value{})
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

func created(processes []*process) map[string]int {
	n := make(map[string]int)
	for _, p := range processes {
		n[p.owner()] = len(p.acknowledged())
	}
	return n
}

// A copy of the file and its log, taken at one instant in the middle of writes, opens and
// has every acknowledged write.
func TestCopiesHaveEveryAcknowledgedWrite(t *testing.T) {
	copies := 8
	if large {
		copies = 200
	}
	path := filepath.Join(t.TempDir(), "tasks.db")
	processes := []*process{startProcess(t, "create", path), startProcess(t, "create", path), startProcess(t, "create", path)}
	for _, p := range processes {
		p.begin(t)
	}
	total := 0
	for i := range copies {
		enough := total + 150
		wait(t, "the processes write", func() bool {
			total = 0
			for _, n := range created(processes) {
				total += n
			}
			return total >= enough
		})
		for _, p := range processes {
			require.NoError(t, p.Process.Signal(syscall.SIGSTOP))
		}
		for _, p := range processes {
			wait(t, "the process stands", func() bool { return stands(p.Process.Pid) })
		}
		acknowledged := created(processes)
		copied := filepath.Join(t.TempDir(), fmt.Sprintf("copy-%d.db", i))
		for _, suffix := range []string{"", "-wal"} {
			data, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(copied+suffix, data, 0o600))
		}
		for _, p := range processes {
			require.NoError(t, p.Process.Signal(syscall.SIGCONT))
		}
		wantCreated(t, copied, acknowledged)
	}
}

// stands reports whether all threads of a process are stopped.
func stands(pid int) bool {
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
	return err == nil && status.Stopped()
}

// Processes that die by SIGKILL in the middle of writes leave every acknowledged write, a
// sound file, and no lock that would keep others waiting.
func TestKilledProcessesKeepAcknowledgedWrites(t *testing.T) {
	rounds := 5
	if large {
		rounds = 100
	}
	path := filepath.Join(t.TempDir(), "tasks.db")
	witness := open(t, path, nil) // has the file open all the while
	all := make(map[string]int)
	for range rounds {
		processes := []*process{startProcess(t, "create", path), startProcess(t, "create", path), startProcess(t, "create", path)}
		for _, p := range processes {
			p.begin(t)
		}
		for i, p := range processes {
			wait(t, "the process writes", func() bool { return len(p.acknowledged()) > 30*(i+1) })
			require.NoError(t, p.Process.Kill())
			p.read.Wait()
			_, err := witness.Put(t.Context(), aKey, taskstore.Value{})
			require.NoError(t, err)
		}
		for owner, n := range created(processes) {
			all[owner] = n
		}
	}
	require.NoError(t, witness.Close())
	wantCreated(t, path, all)
}
