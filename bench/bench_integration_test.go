//go:build integration

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskstore/taskstore/bench/peers"
	"github.com/taskstore/taskstore/internal/redistest"
)

// Everything runs, and everything is in the files. Sizes like these say little of speed.
func TestTheWholeRun(t *testing.T) {
	server := redistest.Start(t)
	program, err := redistest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := newBench(quick, server.Addr(), program, t.Logf)
	if err := b.run(t.Context(), "", dir); err != nil {
		t.Fatal(err)
	}
	judged := b.report.judge()
	if want := len(claims) - 1 + 4; len(judged) != want { // without the list of 100,000, with the peers on Redis
		t.Errorf("%d claims are judged, not %d", len(judged), want)
	}
	for _, j := range judged {
		if !(j.measured.Median > 0) {
			t.Errorf("%s: %v", j.text, j.measured)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	page := read("RESULTS.md")
	for _, want := range []string{
		"| get, 64 callers: rate, of go-redis sending the same | ≥ 0.90 |", "| tasks of 1 KiB per GiB |", "](growth-redis.svg)", "](growth-memory.svg)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("RESULTS.md lacks %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!", "/tmp", "no value"} {
		if strings.Contains(page, bad) {
			t.Errorf("RESULTS.md has %q", bad)
		}
	}
	read("growth-redis.svg")
	read("growth-memory.svg")
	stores := []string{"taskstore, memory", "taskstore, SQLite", `"taskstore, SQLite, SynchronousNormal"`, "taskstore, PostgreSQL", "taskstore,"}
	onRedis := []string{"model", "valkeyrie's commands", "asynq", "NATS KV, TCP"}
	for file, contestants := range map[string][]string{
		"latency": slices.Concat(onRedis, stores[1:], []string{"update,1024,1,taskstore,", "go-redis, again", "ctx without end"}),
		"servers": slices.Concat(onRedis, []string{"get,1024,256,", "get,1024,16,", "delete,1024,64,", "automatic pipelining"}),
		"memory":  {"a bare map", "taskstore, memory", "a2a-go", "NATS KV, in process", "create,1024,64,"},
		"lists":   slices.Concat(onRedis, []string{"list,1000,taskstore,", "first page of 50,1000,asynq,", "pipelines of HMGET"}),
		"quota":   {"10,taskstore,", "100,model,"},
		"stores":  slices.Concat(stores, []string{"create,1024,16,"}), "stores-lists": slices.Concat(stores, []string{"first page of 50,1000,"}),
		"hints": slices.Concat(stores[:4], []string{"1000,taskstore,", bare}),
		"bytes": slices.Concat(stores[:4], onRedis[:3], []string{"redis_used_memory,taskstore,", "heap,a bare map,", "file,"}),
		"stack": {constantServer, stackMemory, stackRedis, stackPiped, "tools/call to its task,64,"},
		"growth": {"redis,tasks of one owner,create under a limit,100,", "redis,tasks of one owner,create beyond the limit,10,",
			"memory,owners,list of one owner,10,", "redis,owners,first page of 50,1,"},
		"scale": {"get,100,", "update,100,", "create,100,"},
	} {
		text := read(filepath.Join("results", file+".csv"))
		for _, name := range contestants {
			if !strings.Contains(text, name) {
				t.Errorf("%s.csv lacks %q", file, name)
			}
		}
	}
}

// The limit really sends the commands of taskstore, and its two updates go on for ever.
func TestTheLimitSendsTaskstoresCommands(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(quick, server.Addr(), "", t.Logf)
	t.Cleanup(func() {
		if err := b.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	limits, err := b.limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range limits {
		if _, err := p.Create(t.Context(), "owner", "task", payload(1<<10)); err != nil {
			t.Fatal(err)
		}
		key := "taskstore:tasks:{" + fmt.Sprint("limit-", i) + "-owner}:task"
		before, err := b.client(dbLimit).HGet(t.Context(), key, "version").Int()
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := p.Update(t.Context(), "owner", "task", nil, peers.Record{}); err != nil {
				t.Fatal(err)
			}
			if r, err := p.Get(t.Context(), "owner", "task"); err != nil || len(r.Data) != 1<<10 {
				t.Fatal(len(r.Data), err)
			}
		}
		after, err := b.client(dbLimit).HGet(t.Context(), key, "version").Int()
		if err != nil || after != before-1 {
			t.Errorf("%s: an odd number of updates takes version %d to %d, %v", p.Name, before, after, err)
		}
	}
}
