//go:build unix && !linux

package testproc

import (
	"os/exec"
	"syscall"
)

// spawn starts a process in its own group. If this process dies, the reaper kills it.
func spawn(cmd *exec.Cmd, user *User) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: user.credential()}
	return cmd.Start()
}
