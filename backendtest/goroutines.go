package backendtest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
)

// countingGoroutines calls f with a function that counts the running goroutines that f,
// and those that it started, have started. Other goroutines of the process do not count,
// so other tests may run beside f.
func countingGoroutines(ctx context.Context, f func(count func() int)) {
	const label = "backendtest.started-by"
	by := newOwner()
	pprof.Do(ctx, pprof.Labels(label, by), func(context.Context) {
		f(func() int {
			var profile bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&profile, 1) // to memory
			n, same := 0, 0
			for line := range strings.Lines(profile.String()) {
				if _, err := fmt.Sscanf(line, "%d @", &same); err != nil && strings.HasPrefix(line, "# labels:") && strings.Contains(line, by) {
					n += same
				}
			}
			return n - 1 // f itself
		})
	})
}
