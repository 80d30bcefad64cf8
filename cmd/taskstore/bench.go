package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

func (a *app) benchCommand() *cobra.Command {
	var duration time.Duration
	var clients int
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure how fast tasks are made, read, ended and removed on this store",
		Long: "Measure how fast tasks are made, read, ended and removed on this store, by owners of the command's own, whose tasks it removes. " +
			"Servers that use the store meanwhile are slower for it.",
		Args: usageArgs(cobra.NoArgs),
		PreRunE: func(*cobra.Command, []string) error {
			if duration <= 0 || clients < 1 {
				return usagef("--duration must be positive, and --clients 1 or more")
			}
			return nil
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.bench(ctx, b, duration, clients)
		}),
	}
	cmd.Flags().DurationVar(&duration, "duration", 10*time.Second, "time to measure")
	cmd.Flags().IntVar(&clients, "clients", 16, "number of concurrent callers")
	return cmd
}

// The calls of a task's life, in order.
var lifeCalls = []string{"create", "get", "complete", "delete"}

// bench runs clients that take tasks through their lives until the time is over. Each
// client has an owner of its own.
func (a *app) bench(ctx context.Context, b taskstore.StorageBackend, duration time.Duration, clients int) error {
	s, err := tasks.New(b, &tasks.Options{DefaultTTL: 10 * time.Minute, Retention: time.Minute})
	if err != nil {
		return err
	}
	running, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	took := make([][]samples, clients) // by client and call
	errs := make([]error, clients)
	bar := a.progress("seconds", int(duration/time.Second))
	begin := time.Now()
	var wait sync.WaitGroup
	for c := range clients {
		took[c] = make([]samples, len(lifeCalls))
		wait.Go(func() { errs[c] = live(running, s, took[c]) })
	}
	wait.Go(func() {
		for pause(running, time.Second) == nil {
			bar.step()
		}
	})
	wait.Wait()
	elapsed := time.Since(begin)
	a.end(bar)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t := a.table("CALL", "PER SECOND", "P50", "P99")
	for call, name := range lifeCalls {
		var all []time.Duration
		count := 0
		for c := range took {
			count += took[c][call].count
			all = append(all, took[c][call].kept...)
		}
		slices.Sort(all)
		if len(all) == 0 {
			return fmt.Errorf("no task came to its end within the duration and %v more; ask taskstore doctor", lastLife)
		}
		_ = t.row(name, fmt.Sprintf("%.0f", float64(count)/elapsed.Seconds()),
			all[len(all)/2].Round(time.Microsecond).String(), all[len(all)*99/100].Round(time.Microsecond).String())
	}
	return t.end()
}

// samples holds durations of a call, a random choice of them if there are many.
type samples struct {
	count int
	kept  []time.Duration
}

const maxSamples = 10_000

func (s *samples) add(d time.Duration) {
	s.count++
	if len(s.kept) < maxSamples {
		s.kept = append(s.kept, d)
	} else if i := mathrand.IntN(s.count); i < maxSamples {
		s.kept[i] = d
	}
}

const (
	// cleanUp limits the removal of the last task.
	cleanUp = 10 * time.Second
	// lastLife limits the rest of the current life after the time is over. A call that is
	// cut off may create its task after the removal.
	lastLife = 2 * time.Second
)

// live takes tasks through their lives until ctx ends, and removes the rest.
func live(ctx context.Context, s *tasks.Store, took []samples) (err error) {
	owner := "taskstore-bench-" + rand.Text()
	defer func() {
		aside, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
		defer cancel()
		_, purgeErr := s.Purge(aside, owner)
		err = errors.Join(err, purgeErr)
	}()
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastLife, cut) })()
	request, result := json.RawMessage(`{"name":"bench","arguments":{}}`), json.RawMessage(`{"content":[]}`)
	for first := true; first || ctx.Err() == nil; first = false { // one at least, so that there is a figure
		var t tasks.Task
		for call, f := range []func() error{
			func() (err error) {
				t, _, err = s.Create(calls, owner, tasks.CreateParams{Holder: "bench", Request: request})
				return err
			},
			func() error { _, err := s.Get(calls, owner, t.ID); return err },
			func() error { _, err := s.Complete(calls, owner, t.ID, result); return err },
			func() error { return s.Delete(calls, owner, t.ID) },
		} {
			begin := time.Now()
			if err := f(); err != nil {
				if calls.Err() != nil {
					return nil // the call was cut off
				}
				return err
			}
			took[call].add(time.Since(begin))
		}
	}
	return nil
}
