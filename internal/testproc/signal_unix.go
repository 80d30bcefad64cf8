//go:build unix

package testproc

import (
	"os/exec"
	"syscall"
)

// Signals to a process that has ended are harmless: os.Process knows that it is
// reaped and does not send them.

// Terminate asks the process to end.
func (p *Process) Terminate() { p.cmd.Process.Signal(syscall.SIGTERM) } //nolint:errcheck
// Quit sends SIGQUIT, at which PostgreSQL and its children end at once.
func (p *Process) Quit() { p.cmd.Process.Signal(syscall.SIGQUIT) } //nolint:errcheck

// Suspend stops the process until Resume.
func (p *Process) Suspend() { p.cmd.Process.Signal(syscall.SIGSTOP) } //nolint:errcheck
// Resume continues a suspended process.
func (p *Process) Resume() { p.cmd.Process.Signal(syscall.SIGCONT) } //nolint:errcheck

// killGroup kills the process with the children that it has forked to save data: they would
// continue to write into its directory.
func (p *Process) killGroup() { syscall.Kill(-p.Pid(), syscall.SIGKILL) } //nolint:errcheck

// detach protects a process from a terminal's interrupt.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
