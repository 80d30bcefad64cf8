package redislink

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Detach returns what f returns, or ctx's error if ctx is done first. go-redis
// looks at a ctx between commands, and on most clients not while it waits for an
// answer, so f runs aside and is left behind: it ends with the client's own
// timeouts. Nothing that f uses may belong to the caller.
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
		case <-j.done: // both: what is known is told
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

// A job is something to do aside.
type job struct {
	do   func()
	done chan struct{} // holds one
}

// jobs has those whose end was waited for, and only those.
var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

// aside does the jobs of all backends of the process.
var aside workers

// workers do jobs, each on a goroutine of its own for the time. A goroutine that
// has done one waits for another: its stack has grown to what go-redis needs, and
// growing it would take a new one a quarter of what go-redis itself does.
type workers struct {
	mu       sync.Mutex
	idle     []chan *job // the latest last, whose stack is in the caches yet
	unused   int         // how many of them, the first, no job came to lately
	sweeping bool
}

// idleTime is how long a worker is unused before it goes, or up to twice that.
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
	own := make(chan *job, 1) // so that nobody waits to put one in
	for ; j != nil; j = <-own {
		j.do()
		w.rest(own)          // first, so that it is there
		j.done <- struct{}{} // for the next job of who waits
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

// sweep has the workers go that were unused since the last time.
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
