//go:build unix && !linux

package redistest

import (
	"os/exec"
	"syscall"
)

// spawn starts a process in a group of its own. If this process dies, the
// reaper kills it.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
