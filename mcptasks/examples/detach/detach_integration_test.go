//go:build integration && unix

// Package detach_test kills the two programs of the example.
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
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

func TestMain(m *testing.M) { redistest.Main(m) }

// killsEnv says how often each program is killed.
const killsEnv = "TASKSTORE_DETACH_KILLS"

// patience ends tests that have failed.
const patience = 2 * time.Minute

const lease = 3 * time.Second

// A pair is the two programs on one Redis, and who looks behind their backs.
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
	over sync.WaitGroup // what it says is read
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

// An errand is one task, as its client saw it.
type errand struct {
	id, status, text  string
	unit              string // that was answered; empty: none was
	cancels, answered bool
}

// do makes a call, answers its question or cancels it, and waits for the end.
func (p *pair) do(ctx context.Context, city string, cancels bool) (e errand, err error) {
	e.cancels = cancels
	if e.id, err = p.create(ctx, city); err != nil {
		return e, err
	}
	res, err := p.until(ctx, e.id, append(over, "input_required")...)
	if err == nil && res["status"] == "input_required" {
		if !cancels || mathrand.IntN(2) == 0 {
			e.unit = rand.Text()
			err = p.answer(ctx, e.id, e.unit)
			e.answered = err == nil
		}
		if err == nil && cancels {
			_, err = p.insist(ctx, "tasks/cancel", map[string]any{"taskId": e.id})
		}
		if err == nil {
			res, err = p.until(ctx, e.id, over...)
		}
	}
	e.status, _ = res["status"].(string)
	text, _ := json.Marshal(res["result"])
	e.text = string(text)
	return e, err
}

// However both programs are killed, every task ends once, with the answer that it was
// given.
func TestKilledServersAndWorkersLoseNothing(t *testing.T) {
	kills := 20
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	p := startPair(t, 40*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(kills)*5*time.Second)
	defer cancel()
	var enough atomic.Bool
	var clients sync.WaitGroup
	var mu sync.Mutex
	var errands []errand
	for client := range 8 {
		clients.Go(func() {
			for n := 0; !enough.Load(); n++ {
				e, err := p.do(ctx, fmt.Sprintf("city %d of %d", n, client), n%5 == 4)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				errands = append(errands, e)
				mu.Unlock()
			}
		})
	}
	left := map[*program]int{p.server: kills, p.worker: kills}
	for left[p.server]+left[p.worker] > 0 && ctx.Err() == nil {
		time.Sleep(time.Duration(mathrand.IntN(700)) * time.Millisecond)
		victim := p.server
		if mathrand.IntN(2) == 0 {
			victim = p.worker
		}
		if left[victim] > 0 {
			left[victim]--
			victim.kill()
			victim.start()
		}
	}
	enough.Store(true)
	clients.Wait()
	byID := make(map[string]errand)
	for _, e := range errands {
		byID[e.id] = e
	}
	// Calls whose answer died with the server are tasks of nobody, which end too: those
	// that ask nobody answers.
	counts := map[string]int{}
	var completed int64
	for cursor := ""; ; {
		page, next, err := p.account.List(ctx, cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range page {
			e, known := byID[task.ID]
			delete(byID, task.ID)
			result := string(task.Result)
			switch {
			case !known && task.Status == tasks.InputRequired:
				counts["of a lost call, asks"]++
			case !known:
				counts["of a lost call, "+string(task.Status)]++
			case string(task.Status) != e.status:
				t.Errorf("a task that was %s is %s", e.status, task.Status)
			case task.Status == tasks.Completed:
				completed++
				counts["completed"]++
				if e.unit == "" || !strings.Contains(result, e.unit) || !strings.Contains(e.text, e.unit) {
					t.Errorf("the answer %q is not in the result %s", e.unit, result)
				}
			case task.Status == tasks.Cancelled && e.cancels:
				counts["cancelled"]++
			case task.Status == tasks.Failed && !e.answered && task.Error.Message == tasks.MessageDeadline:
				counts["failed: the server died before it had sent the job"]++
			default:
				t.Errorf("a task is %s: %v; answered: %v, cancelled: %v", task.Status, task.Error, e.answered, e.cancels)
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(byID) > 0 {
		t.Errorf("%d tasks are gone", len(byID))
	}
	p.worker.kill()
	if said := p.completed.Load(); said > completed {
		t.Errorf("workers completed %d tasks, and there are %d", said, completed)
	}
	t.Logf("each killed %d times: %v; workers said that they completed %d", kills, counts, p.completed.Load())
}

// A cancel reaches work elsewhere, and the word of its end comes back.
func TestACancelReachesTheWorker(t *testing.T) {
	p := startPair(t, patience)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var took []time.Duration
	for range 50 {
		id, err := p.create(ctx, "x")
		if err == nil {
			_, err = p.until(ctx, id, "input_required")
		}
		if err == nil {
			err = p.answer(ctx, id, "x")
		}
		for err == nil {
			var task tasks.Task
			if task, err = p.account.Get(ctx, id); task.StatusMessage == "step 1" {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = p.insist(ctx, "tasks/cancel", map[string]any{"taskId": id})
		for err == nil {
			var task tasks.Task
			if task, err = p.account.Get(ctx, id); task.Status == tasks.Cancelled {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	t.Logf("from tasks/cancel until the worker has ended the task: p50 %v, p99 %v, of %d", p50, p99, len(took))
	if p50 > time.Second {
		t.Errorf("half of the cancels took longer than %v", p50)
	}
}
