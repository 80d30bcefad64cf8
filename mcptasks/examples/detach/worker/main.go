// Command worker does the work of the MCP server beside it. It takes jobs from a Redis
// list and ends their tasks, and needs no connection to the server.
//
// A job stays on a list of the worker's own until it is done. So a worker that was killed
// and starts again under its name resumes its jobs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A job is the work that the server puts on the list.
type job struct {
	Ref  tasks.Ref `json:"ref"`
	City string    `json:"city"`
}

// A worker does jobs.
type worker struct {
	queue     *redis.Client
	jobs, own string // the lists
	store     *tasks.Store
	silence   time.Duration // after which the task of a dead worker fails
	step      time.Duration
}

func main() {
	url := flag.String("redis", "redis://127.0.0.1:6379", "URL of the Redis with the tasks and the list")
	prefix := flag.String("prefix", "detach", "prefix of their keys")
	name := flag.String("name", "worker", "name of this worker; give each worker its own")
	lease := flag.Duration("lease", 30*time.Second, "the server's value of -lease")
	silence := flag.Duration("silence", 5*time.Minute, "how long a worker may be away before its tasks fail")
	step := flag.Duration("step", time.Second, "how long a step of the work takes")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q: options begin with -, see -h", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *prefix, *name, *lease, *silence, *step); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, prefix, name string, lease, silence, step time.Duration) error {
	backend, err := taskstore.OpenRedis(ctx, url, &taskstore.RedisOptions{Prefix: prefix})
	if err != nil {
		return err
	}
	defer backend.Close()
	store, err := tasks.New(backend, &tasks.Options{Lease: lease})
	if err != nil {
		return err
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	queue := redis.NewClient(opts)
	defer queue.Close()
	w := &worker{queue: queue, jobs: prefix + ":jobs", own: prefix + ":jobs:" + name, store: store, silence: silence, step: step}
	for { // what a former life of this worker had
		if err := queue.LMove(ctx, w.own, w.jobs, "RIGHT", "RIGHT").Err(); errors.Is(err, redis.Nil) {
			break
		} else if err != nil {
			return err
		}
	}
	var busy sync.WaitGroup
	defer busy.Wait()
	for {
		raw, err := queue.BLMove(ctx, w.jobs, w.own, "RIGHT", "LEFT", time.Second).Result()
		switch {
		case errors.Is(err, redis.Nil):
			continue
		case err != nil:
			return err // to be started again, as after any crash
		}
		busy.Go(func() {
			if err := w.do(ctx, raw); err != nil {
				log.Print(err) // it stays on the own list
			} else if err := queue.LRem(ctx, w.own, 1, raw).Err(); err != nil {
				log.Print(err)
			}
		})
	}
}

// do does one job. An error says that it is not done.
func (w *worker) do(ctx context.Context, raw string) error {
	var j job
	if err := json.Unmarshal([]byte(raw), &j); err != nil {
		return nil // nobody can do it
	}
	run, err := w.store.Open(ctx, j.Ref)
	if errors.Is(err, tasks.ErrLeaseLost) || errors.Is(err, tasks.ErrInvalid) {
		return nil // it has ended: done before a crash, cancelled, or failed at its deadline
	} else if err != nil {
		return err
	}
	working, cancel := run.Context(ctx) // ends when the client cancels
	defer cancel()
	defer w.extend(working, run)()
	result, err := w.report(working, run, j.City)
	switch cause := context.Cause(working); {
	case errors.Is(cause, tasks.ErrCancelled):
		_, err = run.Cancelled(ctx)
	case errors.Is(err, tasks.ErrLeaseLost), errors.Is(cause, tasks.ErrLeaseLost):
		return nil
	case err != nil:
		return err
	default:
		if _, err = run.Complete(ctx, result); err == nil {
			fmt.Println("completed a task")
		}
	}
	if errors.Is(err, tasks.ErrLeaseLost) {
		return nil
	}
	return err
}

// extend moves the deadline as long as the worker lives. The caller must call stop.
func (w *worker) extend(ctx context.Context, run *tasks.Run) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			_, _ = run.Extend(ctx, w.silence) // the next one may succeed
			select {
			case <-time.After(w.silence / 5):
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// A checkpoint is the progress of the work.
type checkpoint struct {
	Unit string
	Step int
}

const steps = 5

// report does the work, from its last checkpoint.
func (w *worker) report(ctx context.Context, run *tasks.Run, city string) (json.RawMessage, error) {
	var c checkpoint
	if state := run.Task().State; len(state) > 0 {
		if err := json.Unmarshal(state, &c); err != nil {
			return nil, err
		}
	}
	if c.Unit == "" {
		answers, err := run.Ask(ctx, map[string]json.RawMessage{"unit": json.RawMessage(`{
			"method": "elicitation/create",
			"params": {
				"mode": "form", "message": "In which unit?",
				"requestedSchema": {"type": "object", "properties": {"unit": {"type": "string"}}, "required": ["unit"]}
			}
		}`)})
		if err != nil {
			return nil, err
		}
		var answer struct{ Content struct{ Unit string } }
		if err := json.Unmarshal(answers["unit"], &answer); err != nil {
			return nil, err
		}
		if c.Unit = answer.Content.Unit; c.Unit == "" {
			c.Unit = "degrees" // the user said no
		}
	}
	for ; c.Step < steps; c.Step++ {
		state, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		if _, err := run.SaveState(ctx, state); err != nil {
			return nil, err
		}
		if _, err := run.SetStatusMessage(ctx, "step "+strconv.Itoa(c.Step+1)); err != nil {
			return nil, err
		}
		select {
		case <-time.After(w.step):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return json.Marshal(&mcp.CallToolResult{Content: []mcp.Content{
		&mcp.TextContent{Text: city + ": sunny, in " + c.Unit},
	}})
}
