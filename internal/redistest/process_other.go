//go:build !unix

package redistest

import "os/exec"

// The servers do not run on such a system; this lets the package compile there.

func spawn(cmd *exec.Cmd) error { return cmd.Start() }
func detach(*exec.Cmd)          {}

func (p *process) terminate() { p.killGroup() }
func (p *process) suspend()   { panic("redistest: cannot suspend a process on this system") }
func (p *process) resume()    {}
func (p *process) killGroup() { p.cmd.Process.Kill() } //nolint:errcheck
