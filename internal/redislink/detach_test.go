package redislink

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDetachReturnsTheResultOfItsFunc(t *testing.T) {
	wrong := errors.New("wrong")
	for name, ctx := range map[string]context.Context{"endless": context.Background(), "can end": t.Context()} {
		n, err := Detach(ctx, func() (int, error) { return 1, wrong })
		assert.Equal(t, 1, n, name)
		assert.Equal(t, wrong, err, name)
	}
}

// A call that was left behind ends while others are under way, and after them.
func TestTheResultOfADetachedCallIsDropped(t *testing.T) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				left, hold := make(chan struct{}), make(chan struct{})
				_, err := Detach(ctx, func() (int, error) {
					cancel()
					<-hold
					close(left)
					return -1, nil
				})
				assert.ErrorIs(t, err, context.Canceled)
				n, err := Detach(t.Context(), func() (int, error) {
					close(hold)
					<-left
					return i, nil
				})
				assert.NoError(t, err)
				assert.Equal(t, i, n)
			}
		})
	}
	group.Wait()
}

func TestDetachRunsNoFuncForAnEndedCtx(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Detach(ctx, func() (int, error) { t.Error("it runs"); return 0, nil })
	assert.ErrorIs(t, err, context.Canceled)
	assert.True(t, neverExecuted(err))
}

func TestWorkersStayForTheNextJobAndThenEnd(t *testing.T) {
	var w workers
	before := runtime.NumGoroutine()
	do := func(n int) { // n jobs at once
		var started, done sync.WaitGroup
		started.Add(n)
		for range n {
			done.Go(func() {
				j := &job{done: make(chan struct{}, 1)}
				j.do = func() { started.Done(); started.Wait() }
				w.run(j)
				<-j.done
			})
		}
		done.Wait()
	}
	resting := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.idle)
	}
	for range 100 {
		do(1)
	}
	assert.Equal(t, 1, resting(), "one does jobs that come one after the other")
	do(50)
	require.Equal(t, 50, resting())
	for resting() > 1 { // the one with something to do stays
		do(1)
		time.Sleep(idleTime / 100)
	}
	gone := func() bool { return resting() == 0 && runtime.NumGoroutine() <= before }
	for range 1000 { // by itself: assert.Eventually would be one goroutine more
		if gone() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	assert.True(t, gone())
	do(2)
	assert.Equal(t, 2, resting(), "they come back after all have gone")
}
