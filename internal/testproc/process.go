// Package testproc starts servers for tests: on free ports, with directories that are
// removed with the test binary, and as processes that end with it, however it ends.
package testproc

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// A Process is a child process that is reaped as soon as it ends.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and is reaped
}

// A Command is a program to start.
type Command struct {
	Bin  string
	Args []string
	Dir  string    // the working directory
	Log  io.Writer // gets its output
	User *User     // the user it runs as; nil: the user of the tests
}

// Start starts the program.
func (c Command) Start() (*Process, error) {
	root, err := rootDir()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(c.Bin, c.Args...), done: make(chan struct{})}
	p.cmd.Dir = c.Dir
	p.cmd.Stdout, p.cmd.Stderr = c.Log, c.Log
	// A child that the server has forked to save data holds the log open too.
	p.cmd.WaitDelay = time.Second
	if err := spawn(p.cmd, c.User); err != nil {
		return nil, err
	}
	entry := filepath.Join(root, pidsDir, strconv.Itoa(p.Pid()))
	if err := os.WriteFile(entry, nil, 0o600); err != nil {
		p.Kill()
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()     //nolint:errcheck // every way to end is an end
		os.Remove(entry) //nolint:errcheck // it goes with the root directory
	}()
	return p, nil
}

// Pid returns its id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Succeeded reports whether the process has ended without an error.
func (p *Process) Succeeded() bool { return p.Ended() && p.cmd.ProcessState.Success() }

// Kill ends the process and its children, and waits for its end.
func (p *Process) Kill() {
	if !p.Ended() {
		p.killGroup()
	}
	<-p.done
}
