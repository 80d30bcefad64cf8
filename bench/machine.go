package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// describe tells about the machine, the programs and the method.
func describe(ctx context.Context, b *bench) ([]string, error) {
	out, err := exec.CommandContext(ctx, b.program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask the server program for its version: %w", err)
	}
	version := strings.TrimSpace(string(out))
	if at := strings.Index(version, " sha="); at > 0 {
		version = version[:at]
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, fmt.Errorf("the program does not know what it was built of")
	}
	return []string{
		fmt.Sprintf("machine: %s, %d cores, %s", processor(), runtime.NumCPU(), system()),
		fmt.Sprintf("server: %s, on loopback, no persistence, one process; it shares the cores with its clients", version),
		fmt.Sprintf("Go: %s", runtime.Version()),
		fmt.Sprintf("modules: %s", strings.Join(modules(info), ", ")),
		fmt.Sprintf("method: contestants take turns, A B C, B C A and so on, after one turn that does not count: %d times for %v where rates are measured, otherwise "+
			"%d times, or %d where one turn takes seconds; "+
			"figures are medians, ± is half the distance of the quartiles; a ratio is the median of the ratios within each round", b.Turns, b.Slice, b.Rounds, b.SlowRounds),
	}, nil
}

// measured are the modules whose versions matter.
var measured = []string{
	"github.com/redis/go-redis/v9", "github.com/modelcontextprotocol/go-sdk", "github.com/hibiken/asynq", "github.com/nats-io/nats-server/v2",
	"github.com/nats-io/nats.go", "github.com/a2aproject/a2a-go", "github.com/mark3labs/mcp-go",
}

func modules(info *debug.BuildInfo) (all []string) {
	for _, m := range info.Deps {
		if slices.Contains(measured, m.Path) {
			all = append(all, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return all
}

// processor returns the model of the processor where the system tells it.
func processor() string {
	if name := valueIn("/proc/cpuinfo", "model name", ":"); name != "" {
		return name
	}
	return runtime.GOARCH
}

func system() string {
	name := strings.Trim(valueIn("/etc/os-release", "PRETTY_NAME", "="), `"`)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	if name == "" {
		return runtime.GOOS
	}
	return strings.TrimSpace(fmt.Sprintf("%s, %s %s", name, runtime.GOOS, kernel))
}

// valueIn returns what stands behind the first such name in a file of lines.
func valueIn(file, name, separator string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, v, ok := strings.Cut(lines.Text(), separator)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// closing adds what is judged only when everything has been measured, and who is
// not there.
func (b *bench) closing() {
	b.targetAhead("update")
	b.targetAhead("list")
	b.report.section("Reading the figures").text("%s", reading)
	b.report.section("Who is not here").text("%s", absent)
}

const absent = `- kvtools/valkeyrie, philippgille/gokv and hurtener/dockyard: the Go module proxy did not serve their modules when this was written. For
  valkeyrie, whose Redis store has a compare-and-swap, its commands stand in, sent by code of this module. gokv has neither compare-and-swap
  nor list; its operations are a GET and a SET of JSON. dockyard's stores in memory and in SQLite have no stand-in.
- a2a-go from v2 on: its module was not served either; v0.3.3 is here.
- asynq and a2a-go have no compare-and-swap, a2a-go no list; their updates read and write. mcp-go lets nobody at its tasks but through the
  protocol, so it is compared there.
`
