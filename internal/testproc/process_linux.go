package testproc

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner returns the channel to a goroutine that starts processes. The kernel sends
// Pdeathsig at the end of the thread that forked, not of the process, and the Go runtime
// ends idle threads. So the goroutine keeps one thread forever.
var spawner = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// spawn starts a process in its own group. The process dies with this one.
func spawn(cmd *exec.Cmd, user *User) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: user.credential()}
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}
