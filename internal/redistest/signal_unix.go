//go:build unix

package redistest

import (
	"os/exec"
	"syscall"
)

// Signals to a process that has ended are harmless: os.Process knows that it is
// reaped and does not send them.

func (p *process) terminate() { p.cmd.Process.Signal(syscall.SIGTERM) } //nolint:errcheck
func (p *process) suspend()   { p.cmd.Process.Signal(syscall.SIGSTOP) } //nolint:errcheck
func (p *process) resume()    { p.cmd.Process.Signal(syscall.SIGCONT) } //nolint:errcheck

// killGroup kills the process with the children that it has forked to save
// data, which would go on to write into its directory.
func (p *process) killGroup() { syscall.Kill(-p.pid(), syscall.SIGKILL) } //nolint:errcheck

// detach keeps a terminal's interrupt away from a process.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
