package mcptasks

import (
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore"
)

// Run looks after the tasks of lost replicas until ctx ends, then shuts server down: it
// waits for its handlers as Shutdown does, for [Options.DrainTimeout] at most. It resumes
// the tasks of tools with [ToolOptions].Retry on server, on which Install was called.
// Several replicas may run it; each task is resumed by one of them.
//
// It returns the error that Shutdown would: nil at a clean end. Without Run everything
// works except that lost tasks are not resumed and that the process does not wait for
// handlers at the end.
func (t *Tasks) Run(ctx context.Context, server *mcp.Server) error {
	in := t.installation(server)
	if !in.installed() {
		return errors.New("mcptasks: Run was called before Install")
	}
	// A look that finds a lease expired is followed by one that finds its grace expired.
	pause := t.store.Options().Lease/30*11 + time.Millisecond
	for ctx.Err() == nil {
		in.resumeOrphans(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.DrainTimeout)
	defer cancel()
	return t.shutdown(draining, in)
}

// resumeOrphans resumes tasks that wait for a runner, MaxResumed at once: it takes the
// next one as soon as another has ended.
func (in *installation) resumeOrphans(ctx context.Context) {
	for t, err := range in.store.Orphans(ctx, in.service) {
		if err != nil {
			if ctx.Err() == nil {
				in.log.lookingFailed(err)
			}
			return
		}
		now, err := taskstore.Now(ctx, in.backend)
		if err != nil {
			return
		}
		what, tool := in.classify(ctx, &t, now)
		switch what {
		case abandon:
			in.fail(ctx, t, tool, MessageAbandoned)
		case exhausted:
			in.fail(ctx, t, tool, MessageExhausted)
		case resume:
			select {
			case in.slots <- struct{}{}:
				in.resume(t, func() { <-in.slots })
			case <-ctx.Done():
				return
			}
		}
	}
}
