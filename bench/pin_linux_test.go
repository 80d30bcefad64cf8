package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// While it is pinned, this process and the processes below it have a core each; then all again.
func TestPinGivesClientAndServerACoreEach(t *testing.T) {
	allowed := func(pid int) []int {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		return coresOf(set)
	}
	all := allowed(0)
	if len(all) < 2 {
		if _, err := pin(); err == nil {
			t.Error("one core is enough for two")
		}
		t.Skip("there is only one core")
	}
	server := exec.Command("sleep", "60")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	procs := runtime.GOMAXPROCS(0)
	unpin, err := pin()
	if err != nil {
		t.Fatal(err)
	}
	client, serverCores := allowed(os.Getpid()), allowed(server.Process.Pid)
	if len(client) != 1 || len(serverCores) != 1 || client[0] == serverCores[0] || runtime.GOMAXPROCS(0) != 1 {
		t.Errorf("the client has cores %v and %d Ps, the server %v", client, runtime.GOMAXPROCS(0), serverCores)
	}
	if err := unpin(); err != nil {
		t.Fatal(err)
	}
	if got := [][]int{allowed(os.Getpid()), allowed(server.Process.Pid)}; !slices.Equal(got[0], all) || !slices.Equal(got[1], all) || runtime.GOMAXPROCS(0) != procs {
		t.Errorf("afterwards %v and %d Ps, before %v and %d", got, runtime.GOMAXPROCS(0), all, procs)
	}
}
