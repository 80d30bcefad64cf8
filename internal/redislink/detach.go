package redislink

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Detach returns the results of f, or ctx's error if ctx is done first. go-redis looks at a
// ctx between commands, and on most clients not while it waits for an answer. So f runs on
// another goroutine, and once abandoned it ends with the client's own timeouts. f must use
// no data that belongs to the caller.
func Detach[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, notSent{err}
	}
	if ctx.Done() == nil {
		return f()
	}
	var result struct {
		value T
		err   error
	}
	j := jobs.Get().(*job)
	j.do = func() { result.value, result.err = f() }
	aside.run(j)
	select {
	case <-j.done:
	case <-ctx.Done():
		select {
		case <-j.done: // both are done: return the result
		default:
			return zero, ctx.Err()
		}
	}
	j.do = nil
	jobs.Put(j)
	// A client that passes the ctx's deadline on to the connection reports a timeout
	// of its own, perhaps a moment before ctx does.
	if deadline, ok := ctx.Deadline(); ok && result.err != nil && time.Until(deadline) <= 0 {
		result.err = fmt.Errorf("%w: %w", context.DeadlineExceeded, result.err)
	}
	return result.value, result.err
}

// A job is a function for a worker to run.
type job struct {
	do   func()
	done chan struct{} // holds one
}

// jobs holds only jobs whose end was waited for.
var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

// aside runs the jobs of all backends of the process.
var aside workers

// workers run jobs, each on its own goroutine. A goroutine that has done its job waits for
// another: its stack has grown to the size that go-redis needs, and growing the stack of a
// new one takes a quarter of the time that go-redis itself takes.
type workers struct {
	mu       sync.Mutex
	idle     []chan *job // the latest last: its stack is still in the caches
	unused   int         // how many of them, from the first, have had no job since the last sweep
	sweeping bool
}

// idleTime is how long a worker stays unused before it exits, or up to twice as long.
const idleTime = time.Second

func (w *workers) run(j *job) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		worker := w.idle[last]
		w.idle = w.idle[:last]
		w.unused = min(w.unused, last)
		w.mu.Unlock()
		worker <- j
		return
	}
	w.mu.Unlock()
	go w.work(j)
}

func (w *workers) work(j *job) {
	own := make(chan *job, 1) // buffered, so that the sender does not wait
	for ; j != nil; j = <-own {
		j.do()
		w.rest(own) // before done, so that the caller's next job finds it
		j.done <- struct{}{}
	}
}

func (w *workers) rest(worker chan *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = append(w.idle, worker)
	if !w.sweeping {
		w.sweeping = true
		time.AfterFunc(idleTime, w.sweep)
	}
}

// sweep ends the workers that have been unused since the last sweep.
func (w *workers) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, worker := range w.idle[:w.unused] {
		worker <- nil
	}
	w.idle = slices.Delete(w.idle, 0, w.unused)
	w.unused = len(w.idle)
	if w.sweeping = w.unused > 0; w.sweeping {
		time.AfterFunc(idleTime, w.sweep)
	}
}
