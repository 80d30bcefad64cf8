package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// redisBenchmark is Redis's own tool, in C: what the server gives a client that
// does nothing with the answers.
const redisBenchmark = "redis-benchmark"

// toolBeside returns the path of the tool that came with the server program, or
// what is wrong.
func toolBeside(program string) (string, error) {
	for _, name := range []string{"redis-benchmark", "valkey-benchmark"} {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(program), name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(redisBenchmark)
}

// toolSample has the tool run a command for about the time of a turn.
func (b *bench) toolSample(callers, calls, db int, command ...string) func(ctx context.Context) (Sample, error) {
	return func(ctx context.Context) (Sample, error) {
		path, err := toolBeside(b.program)
		if err != nil {
			return Sample{}, err
		}
		host, port, err := net.SplitHostPort(b.addr)
		if err != nil {
			return Sample{}, err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		args := append([]string{"-h", host, "-p", port, "-c", fmt.Sprint(callers), "-n", fmt.Sprint(max(calls, callers)),
			"--dbnum", fmt.Sprint(db), "--csv"}, command...)
		out, err := exec.CommandContext(ctx, path, args...).Output()
		if err != nil {
			return Sample{}, err
		}
		s, err := parseTool(string(out))
		s.Timed = max(calls, callers)
		return s, err
	}
}

// parseTool reads the tool's CSV: a header and one line.
func parseTool(text string) (Sample, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.LazyQuotes = true // it quotes the command as it is
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil || len(lines) < 2 || len(lines[0]) != len(lines[1]) {
		return Sample{}, errors.New("the output of redis-benchmark cannot be parsed")
	}
	column := func(name string) float64 {
		for i, title := range lines[0] {
			if title == name {
				v, err := strconv.ParseFloat(lines[1][i], 64)
				if err == nil {
					return v
				}
			}
		}
		return 0
	}
	s := Sample{Value: column("rps"), P50: 1000 * column("p50_latency_ms"), P99: 1000 * column("p99_latency_ms")}
	if s.Value <= 0 {
		return Sample{}, errors.New("redis-benchmark tells no requests per second")
	}
	return s, nil
}
