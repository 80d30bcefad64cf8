//go:build integration

package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/redistest"
)

// tiny only shows that everything runs.
var tiny = Config{
	Name: "tiny", Rounds: 1, SlowRounds: 1, Turns: 1, Slice: 5 * time.Millisecond,
	Sizes: []int{1 << 10}, Callers: []int{1, 64}, MemoryCallers: []int{1, 2},
	Contenders: 4, Lists: []int{10, 100}, Quotas: []int{10, 100},
	Expiring: 200, Notice: 2 * time.Second, WatchFor: 50 * time.Millisecond, Owned: 100, Calls: 20,
	GrowthTasks: []int{10, 100}, GrowthOwners: []int{1, 10},
	PerOwner: 2, StackCallers: []int{1, 4}, Cancels: 2,
}

// Everything runs, and everything is in the report. What it says of speed with
// sizes like these does not count.
func TestTheWholeRun(t *testing.T) {
	server := redistest.Start(t)
	program, err := redistest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "RESULTS.md")
	targets, err := runTopics(t.Context(), tiny, regexp.MustCompile(""), server.Addr(), program, out, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) == 0 {
		t.Error("the run has no targets")
	}
	for _, target := range targets {
		if !(target.Measured.Median > 0) {
			t.Errorf("%s: %v", target.What, target.Measured)
		}
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{
		"## Targets", "## Work on single tasks, on servers", "## Work on single tasks, in memory", "## Many writers on one task",
		"## The server's time", "## Lists", "## A limit of tasks per owner", "## Many tasks expire at once", "## Watching", "## The stores side by side",
		"## Memory of a task", "## The whole stack, over HTTP", "## Growth: tasks of one owner", "## Growth: owners",
		"| tasks per GiB |", "## Who is not here",
		"| taskstore |", "| model |", "| valkeyrie's commands |", "| asynq |", "| NATS KV, TCP |", "| a2a-go, memory |", "| taskstore, SQLite |", "| taskstore, PostgreSQL |", "| mcp-go, in its process |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!", "/tmp"} {
		if strings.Contains(text, bad) {
			t.Errorf("the report has %q", bad)
		}
	}
	for _, picture := range regexp.MustCompile(`\]\((\S+\.svg)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(out), picture[1])); err != nil {
			t.Error(err)
		}
	}
	if pictures := strings.Count(text, ".svg)"); pictures != 4 {
		t.Errorf("%d pictures", pictures)
	}
}

// The limit really sends what taskstore sends, and its two updates go on for ever.
func TestTheLimitSendsTaskstoresCommands(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(tiny, server.Addr(), "", t.Logf)
	t.Cleanup(func() {
		if err := b.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	tasks, err := b.rawTasks(t.Context(), 2, 1024)
	if err != nil {
		t.Fatal(err)
	}
	c := b.client(dbLimit)
	get, update := rawGet(c.Process, tasks), rawUpdate(c.Process, tasks)
	for i := range 5 {
		if err := update(t.Context(), 1, i); err != nil {
			t.Fatal(err)
		}
		if err := get(t.Context(), 1, i); err != nil {
			t.Fatal(err)
		}
	}
	version, err := c.HGet(t.Context(), tasks[1].get[1].(string), "version").Result()
	if err != nil || version != tasks[1].results[0] {
		t.Errorf("after an odd number of updates the version is %q, %v", version, err)
	}
}
