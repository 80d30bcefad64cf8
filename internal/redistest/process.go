package redistest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// process is a child process that is reaped as soon as it ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and is reaped
}

func startProcess(bin, dir string, args []string, log io.Writer) (*process, error) {
	root, err := rootDir()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(bin, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A child that the server has forked to save data holds the log open too.
	p.cmd.WaitDelay = time.Second
	if err := spawn(p.cmd); err != nil {
		return nil, err
	}
	entry := filepath.Join(root, pidsDir, strconv.Itoa(p.pid()))
	if err := os.WriteFile(entry, nil, 0o600); err != nil {
		p.kill()
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()     //nolint:errcheck // every way to end is an end
		os.Remove(entry) //nolint:errcheck // it goes with the root directory
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process and its children, and waits for its end.
func (p *process) kill() {
	if !p.ended() {
		p.killGroup()
	}
	<-p.done
}
