package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
)

// littlePatience is for rules that are to fail. A correct backend keeps every rule with it
// as well, so a failure has another cause.
const littlePatience = 2 * time.Second

// A recorder is a reporter that keeps the reports of a rule.
type recorder struct {
	ctx context.Context

	mu       sync.Mutex
	log      strings.Builder
	failed   bool
	skipped  bool
	cleanups []func()
}

// record runs a rule on backends from open, with hooks of the same make.
func record(t *testing.T, r rule, open func(records, bytes int) *fake) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rec := &recorder{ctx: ctx}
	trial := newTrial(rec, t, func(testing.TB) taskstore.StorageBackend { return open(0, 0) }, hooksOf(open))
	trial.waitLimit = littlePatience
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.run(trial)
	}()
	select {
	case <-ended:
	case <-time.After(20 * littlePatience):
		t.Fatalf("rule %s does not end", r.name)
	}
	cancel()
	for _, f := range rec.cleanups {
		f()
	}
	return rec
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.log, format+"\n", args...)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}
