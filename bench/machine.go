package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// describe tells about the machine, the programs and the run.
func describe(ctx context.Context, b *bench, took time.Duration) (string, error) {
	out, err := exec.CommandContext(ctx, b.program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask the server program for its version: %w", err)
	}
	server, _, _ := strings.Cut(strings.TrimSpace(string(out)), " sha=")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("the program has no build information")
	}
	pinned := "one caller has one, and the servers another; many callers and the servers share them"
	if b.unpinned != nil {
		pinned = fmt.Sprintf("one caller and the servers share them, because %v", b.unpinned)
	}
	return fmt.Sprintf("- taskstore: %s, %s\n- machine: %s, %d cores, %s\n- cores: %s\n- server: %s, one process on loopback, without persistence\n- modules: %s\n- run: %s, %v; rates of %d turns of %v, others of %d, or of %d that take seconds",
		revision(ctx), runtime.Version(), processor(), runtime.NumCPU(), runtime.GOOS, pinned, server, wrapped(modules(info), "\n  "),
		b.Name, took.Round(time.Second), b.Turns, b.Slice, b.Rounds, b.SlowRounds), nil
}

// revision returns the commit of the source, if git tells it.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "an unknown revision"
	}
	return "revision " + strings.TrimSpace(string(out))
}

// measured are the modules whose versions matter.
var measured = []string{
	"github.com/redis/go-redis/v9", "github.com/modelcontextprotocol/go-sdk", "github.com/hibiken/asynq", "github.com/nats-io/nats-server/v2",
	"github.com/nats-io/nats.go", "github.com/a2aproject/a2a-go", "github.com/jackc/pgx/v5", "modernc.org/sqlite",
}

func modules(info *debug.BuildInfo) (all []string) {
	for _, m := range info.Deps {
		if slices.Contains(measured, m.Path) {
			all = append(all, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return all
}

// processor returns the model of the processor, if the system tells it.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // on Linux
	for line := range strings.Lines(string(info)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}
