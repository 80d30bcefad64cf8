package mcptasks_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskstore/taskstore/mcptasks"
)

// Run lets handlers finish for as long as the options say.
func TestRunWaitsForHandlersForTheDrainTimeout(t *testing.T) {
	for name, c := range map[string]struct{ option, want time.Duration }{
		"as given":    {3 * time.Second, 3 * time.Second},
		"the default": {0, 10 * time.Second},
		"negative":    {-time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ends atomic.Int32
				r := startDirect(t, memory(), &mcptasks.Options{DrainTimeout: c.option}, healthy(time.Minute, &ends))
				ctx, cancel := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- r.tasks.Run(ctx, r.mcp) }()
				r.as("alice").create("work", nil)
				begun := time.Now()
				cancel()
				if err := <-ran; err == nil || !strings.Contains(err.Error(), ": 1 handlers were told to end, and 0 have not ended") {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(begun); took < c.want || took > c.want+time.Second || ends.Load() != 1 {
					t.Errorf("it took %v, %d handlers ended", took, ends.Load())
				}
			})
		})
	}
}
