//go:build integration && unix

package detach_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/mcptasks"
	"github.com/taskstore/taskstore/tasks"
)

// patience ends tests that have failed.
const patience = 2 * time.Minute

const lease = 3 * time.Second

// A pair is the two programs on one Redis, and the test's account of their tasks.
type pair struct {
	t         *testing.T
	url       string // of the server, the same in all of its lives
	server    *program
	worker    *program
	completed atomic.Int64 // as the workers said
	account   *mcptasks.Account
}

// A program is started again when it is killed.
type program struct {
	t    *testing.T
	path string
	args []string
	said func(line string)
	cmd  *exec.Cmd
	log  bytes.Buffer
	over sync.WaitGroup // all that it printed is read
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.over.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.said(lines.Text())
		}
	})
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	p.over.Wait()
	_ = p.cmd.Wait()
}

func build(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", "-o", path, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func startPair(t *testing.T, step time.Duration) *pair {
	t.Helper()
	redisURL, prefix := redistest.SharedURL(t), rand.Text()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	p := &pair{t: t, url: "http://" + addr + "/"}
	common := []string{"-redis", redisURL, "-prefix", prefix, "-lease", lease.String()}
	p.server = &program{t: t, path: build(t, dir, "server"), args: append(slices.Clone(common), "-addr", addr, "-pickup", "20s"), said: func(string) {}}
	p.worker = &program{t: t, path: build(t, dir, "worker"), args: append(slices.Clone(common), "-silence", "1m", "-step", step.String()), said: func(line string) {
		if line == "completed a task" {
			p.completed.Add(1)
		}
	}}
	backend, err := taskstore.OpenRedis(t.Context(), redisURL, &taskstore.RedisOptions{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	behind, err := mcptasks.New(backend, &mcptasks.Options{Tasks: tasks.Options{Lease: lease}})
	if err != nil {
		t.Fatal(err)
	}
	p.account = behind.AnonymousAccount()
	p.server.start()
	p.worker.start()
	t.Cleanup(func() {
		p.server.kill()
		p.worker.kill()
		if t.Failed() {
			t.Logf("the server:\n%s\nthe worker:\n%s", p.server.log.String(), p.worker.log.String())
		}
	})
	return p
}

// post makes a request, once.
func (p *pair) post(ctx context.Context, method string, params map[string]any) (map[string]any, error) {
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion": "2026-07-28",
		"io.modelcontextprotocol/clientInfo":      map[string]any{"name": "test", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{
			"elicitation": map[string]any{}, "extensions": map[string]any{"io.modelcontextprotocol/tasks": map[string]any{}},
		},
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method,
	} {
		req.Header.Set(name, value)
	}
	for _, name := range []string{"name", "taskId"} {
		if s, ok := params[name].(string); ok {
			req.Header.Set("Mcp-Name", s)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(raw)) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			raw = []byte(data)
		}
	}
	var reply struct {
		Result map[string]any
		Error  *struct{ Message string }
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, errors.New(reply.Error.Message)
	}
	return reply.Result, nil
}

// insist makes a request until it is answered: the server may be dead just now.
func (p *pair) insist(ctx context.Context, method string, params map[string]any) (map[string]any, error) {
	for {
		res, err := p.post(ctx, method, params)
		if err == nil || ctx.Err() != nil {
			return res, errors.Join(err, ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// until polls until the task has one of the statuses.
func (p *pair) until(ctx context.Context, id string, statuses ...string) (map[string]any, error) {
	for {
		res, err := p.insist(ctx, "tasks/get", map[string]any{"taskId": id})
		if status, _ := res["status"].(string); err != nil || slices.Contains(statuses, status) {
			return res, err
		}
		time.Sleep(30 * time.Millisecond)
	}
}

var over = []string{"completed", "failed", "cancelled"}

func (p *pair) create(ctx context.Context, city string) (string, error) {
	res, err := p.insist(ctx, "tools/call", map[string]any{"name": "report", "arguments": map[string]any{"city": city}})
	id, _ := res["taskId"].(string)
	if err == nil && id == "" {
		err = fmt.Errorf("no task: %v", res)
	}
	return id, err
}

func (p *pair) answer(ctx context.Context, id, unit string) error {
	_, err := p.insist(ctx, "tasks/update", map[string]any{"taskId": id, "inputResponses": map[string]any{
		"unit": map[string]any{"action": "accept", "content": map[string]any{"unit": unit}},
	}})
	return err
}
