package testproc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// pidsDir is the folder of the root directory with one empty file for each running process,
// named after its id.
const pidsDir = "pids"

// reaperScript waits until the test binary closes the script's input or dies in any way.
// Then it kills the remaining process groups and removes the root directory.
const reaperScript = `
trap '' HUP INT TERM
read -r _
for entry in "$1"/` + pidsDir + `/*; do
	[ -e "$entry" ] && kill -s KILL -- "-${entry##*/}"
done
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`

// root is the directory of one test binary, for all files of its servers.
var root struct {
	mu     sync.Mutex
	dir    string
	reaper *exec.Cmd
	input  io.Closer
}

// rootDir returns the root directory, and makes it at the first call.
func rootDir() (string, error) {
	root.mu.Lock()
	defer root.mu.Unlock()
	if root.dir != "" {
		return root.dir, nil
	}
	dir, err := os.MkdirTemp("", "testproc-")
	if err != nil {
		return "", fmt.Errorf("testproc: %w", err)
	}
	// A server that runs as another user must be able to reach its own directory.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("testproc: %w", err)
	}
	reaper := exec.Command("sh", "-c", reaperScript, "sh", dir)
	detach(reaper)
	input, err := reaper.StdinPipe()
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, pidsDir), 0o700)
	}
	if err == nil {
		err = reaper.Start()
	}
	if err != nil {
		os.RemoveAll(dir) //nolint:errcheck // the error to report is the first
		return "", fmt.Errorf("testproc: %w", err)
	}
	root.dir, root.reaper, root.input = dir, reaper, input
	return dir, nil
}

// RemoveRoot ends all processes and removes all directories now. The next use makes a new
// root.
func RemoveRoot() {
	root.mu.Lock()
	defer root.mu.Unlock()
	if root.dir == "" {
		return
	}
	root.input.Close()
	root.reaper.Wait() //nolint:errcheck // nothing left to do about it
	root.dir = ""
}

// ReaperPid returns the id of the process that cleans up after the test binary.
func ReaperPid() int {
	root.mu.Lock()
	defer root.mu.Unlock()
	return root.reaper.Process.Pid
}

// NewDir returns a new directory for one server's data.
func NewDir() (string, error) {
	dir, err := rootDir()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, "server-")
}
