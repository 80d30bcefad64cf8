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
		return nil, fmt.Errorf("the program has no build information")
	}
	lines := []string{
		"taskstore: " + revision(ctx),
		fmt.Sprintf("machine: %s, %d cores, %s", processor(), runtime.NumCPU(), system()),
		fmt.Sprintf("server: %s, on loopback, no persistence, one process; it shares the cores with its clients", version),
		fmt.Sprintf("Go: %s", runtime.Version()),
		fmt.Sprintf("modules: %s", strings.Join(modules(info), ", ")),
		fmt.Sprintf("method: a contest has rounds, in each of which everybody has a turn, in an order drawn for it, after one round that does not count: %d turns of %v where rates are "+
			"measured, otherwise %d turns, %d for the server's time, and %d with none uncounted where one takes seconds; figures are medians of the turns, ± is half the distance of "+
			"their quartiles in percent; a ratio is the median of the ratios within each round; lists, watches and growth are those of one caller",
			b.Turns, b.Slice, b.Rounds, serverRounds*b.Rounds, b.SlowRounds),
	}
	if _, err := toolBeside(b.program); err != nil {
		lines = append(lines, redisBenchmark+" was not found, and is not here")
	}
	return lines, nil
}

// revision returns which source was measured, where git tells it.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "of an unknown revision"
	}
	return "revision " + strings.TrimSpace(string(out))
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
