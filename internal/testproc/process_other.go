//go:build !unix

package testproc

import "os/exec"

// The servers do not run on such a system; this lets the package compile there.

// A User is the user a process runs as.
type User struct{}

// Unprivileged returns nil, because there is no root.
func Unprivileged() (*User, error) { return nil, nil }

// Own has no effect.
func (u *User) Own(string) error { return nil }

func spawn(cmd *exec.Cmd, _ *User) error { return cmd.Start() }
func detach(*exec.Cmd)                   {}

func (p *Process) Terminate() { p.killGroup() }
func (p *Process) Quit()      { p.killGroup() }
func (p *Process) Suspend()   { panic("testproc: cannot suspend a process on this system") }
func (p *Process) Resume()    {}
func (p *Process) killGroup() { p.cmd.Process.Kill() } //nolint:errcheck
