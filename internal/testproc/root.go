package testproc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// pidsDir is the folder of the root directory that has one empty file for each
// running process, with its id as name.
const pidsDir = "pids"

// reaperScript waits for the end of its input, which comes when the test binary
// closes it or dies in whatever way. Then it kills the process groups that are
// left and removes the root directory.
const reaperScript = `
trap '' HUP INT TERM
read -r _
for entry in "$1"/` + pidsDir + `/*; do
	[ -e "$entry" ] && kill -s KILL -- "-${entry##*/}"
done
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`

// root is the directory of one test binary, with all that its servers write.
var root struct {
	mu     sync.Mutex
	dir    string
	reaper *exec.Cmd
	input  io.Closer
}

// rootDir returns the root directory; it makes it if there is none.
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
	// A server that runs as another user has to get to its own directory.
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

// RemoveRoot ends all processes and removes all directories now. A later one starts afresh.
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

// ReaperPid returns the id of the process that ends what is left.
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
