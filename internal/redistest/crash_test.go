//go:build integration && unix

package redistest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/testproc"
)

// victimEnv makes the test binary start servers, say so, and wait for its death.
const victimEnv = "REDISTEST_VICTIM"

// dead is gone for processes that are not our children: their new parent may reap them late,
// or not at all in a container.
func dead(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return gone(pid) || strings.HasPrefix(state, "Z")
}

// TestVictim is the other process of TestServersEndWithTheTestBinary.
func TestVictim(t *testing.T) {
	if os.Getenv(victimEnv) == "" {
		return
	}
	s := Shared(t)
	suspended := Start(t)
	suspended.Suspend()
	reaper := testproc.ReaperPid()
	fmt.Println("\nvictim", filepath.Dir(s.Dir()), s.Pid(), suspended.Pid(), reaper)
	if os.Getenv(victimEnv) == "panic" {
		go panic("in a goroutine")
	}
	select {}
}

func TestServersEndWithTheTestBinary(t *testing.T) {
	for _, death := range []string{"kill", "panic", "timeout", "interrupt"} {
		t.Run(death, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.timeout=1m")
			if death == "timeout" {
				cmd.Args[2] = "-test.timeout=1s"
			}
			cmd.Env = append(os.Environ(), victimEnv+"="+death)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())

			var words []string
			lines := bufio.NewScanner(out)
			for len(words) == 0 && lines.Scan() {
				if rest, ok := strings.CutPrefix(lines.Text(), "victim "); ok {
					words = strings.Fields(rest)
				}
			}
			switch death {
			case "kill":
				cmd.Process.Kill()
			case "interrupt":
				cmd.Process.Signal(os.Interrupt)
			}
			for lines.Scan() {
			}
			assert.Error(t, cmd.Wait())

			require.Len(t, words, 4)
			dir, pids := words[0], words[1:]
			for _, word := range pids {
				pid, err := strconv.Atoi(word)
				require.NoError(t, err)
				assert.Eventually(t, func() bool { return dead(pid) }, patience, tick)
			}
			assert.NoDirExists(t, dir)
		})
	}
}
