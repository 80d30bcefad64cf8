//go:build integration && unix

// Package detach_test kills the two programs of the example.
package detach_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/tasks"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// killsEnv says how often each program is killed.
const killsEnv = "TASKSTORE_DETACH_KILLS"

// An errand is one task, as its client saw it.
type errand struct {
	id, status, text  string
	unit              string // the one answered, or empty
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
func TestKilledServersAndWorkersLoseNoTask(t *testing.T) {
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
	// A server that dies before it answers leaves tasks without a client. They end too, apart
	// from those that ask, because no client answers them.
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
