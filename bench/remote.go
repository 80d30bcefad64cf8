package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/taskstore/taskstore/bench/peers"
)

// loaded makes a contestant of a call.
func (b *bench) loaded(name string, callers, every int, do call) Contestant {
	l := load{callers: callers, last: b.Slice, every: every}
	return Contestant{Name: name, Sample: func(ctx context.Context) (Sample, error) { return l.run(ctx, do) }}
}

// rates is a contest of those: many short turns, for a caller that waits for its
// answer is now fast and now slow, by the cores that it and the server are on.
func (b *bench) rates(callers int) Contest {
	return Contest{Name: callersText(callers), Rounds: b.Turns}
}

// forever is a ctx that cannot end, which servers do not have: with it taskstore
// need not watch for the end.
func forever(do call) call {
	return func(_ context.Context, caller, i int) error { return do(context.Background(), caller, i) }
}

const oursForever = "taskstore, ctx without end"

// workers returns the peers on servers, and taskstore with automatic pipelining
// besides: it makes a difference where many work at once.
func (b *bench) workers(ctx context.Context) ([]peers.Peer, error) {
	all, err := b.remote(ctx)
	if err != nil {
		return nil, err
	}
	piped, err := peers.Piped(b.client(dbPiped))
	return slices.Insert(slices.Clone(all), 1, piped), err
}

// remoteGets compares gets on servers with the limit.
func (b *bench) remoteGets(ctx context.Context, s *section, size int) error {
	all, err := b.workers(ctx)
	if err != nil {
		return err
	}
	tasks, err := b.rawTasks(ctx, readable, size)
	if err != nil {
		return err
	}
	modes, err := b.modes()
	if err != nil {
		return err
	}
	var results []Result
	for _, callers := range b.Callers {
		c := b.rates(callers)
		for _, m := range modes {
			c.Contestants = append(c.Contestants, b.loaded(m.name, callers, 1, rawGet(m.way, tasks)))
		}
		if callers == b.Callers[len(b.Callers)-1] || callers == 1 {
			c.Contestants = append(c.Contestants, countPiped(b.loaded(rawPiped, min(callers, 4), 1, rawPipeline(b.client(dbLimit), tasks))))
		}
		if _, err := toolBeside(b.program); err == nil {
			command := []string{"hmget"}
			for _, a := range tasks[0].get[1:] {
				command = append(command, fmt.Sprint(a))
			}
			c.Contestants = append(c.Contestants, Contestant{Name: redisBenchmark,
				Sample: b.toolSample(callers, b.toolCalls(callers, size), dbLimit, command...)})
		}
		for _, p := range all {
			do, err := getCall(ctx, p, callers, size)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			c.Contestants = append(c.Contestants, b.loaded(p.Name, callers, 1, do))
			if p.Name == ours {
				c.Contestants = append(c.Contestants, b.loaded(oursForever, callers, 1, forever(do)))
			}
		}
		r, err := b.contest(ctx, c)
		if err != nil {
			return err
		}
		results = append(results, r)
		b.targetRaw("get", size, callers, r)
	}
	b.showWork(s, "Get", size, raw, results)
	return nil
}

// remoteUpdates compares compare-and-swaps on servers with the limit.
func (b *bench) remoteUpdates(ctx context.Context, s *section, size int) error {
	all, err := b.workers(ctx)
	if err != nil {
		return err
	}
	most := slices.Max(b.Callers)
	modes, err := b.modes()
	if err != nil {
		return err
	}
	tasks, err := b.rawTasks(ctx, len(modes)*most, size)
	if err != nil {
		return err
	}
	nothing, err := rawNothing(ctx, b.client(dbLimit), size)
	if err != nil {
		return err
	}
	// One of each kind for all numbers of callers: they remember where they are.
	updates := make(map[string]call)
	for i, m := range modes {
		updates[m.name] = rawUpdate(m.way, tasks[i*most:(i+1)*most])
	}
	var results []Result
	for _, callers := range b.Callers {
		c := b.rates(callers)
		for _, m := range modes {
			c.Contestants = append(c.Contestants, b.loaded(m.name, callers, 1, updates[m.name]))
		}
		c.Contestants = append(c.Contestants, b.loaded(rawNoop, callers, 1, nothing))
		for _, p := range all {
			do, err := updateCall(ctx, p, callers, size)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			c.Contestants = append(c.Contestants, b.loaded(p.Name, callers, 1, do))
			if p.Name == ours {
				c.Contestants = append(c.Contestants, b.loaded(oursForever, callers, 1, forever(do)))
			}
		}
		r, err := b.contest(ctx, c)
		if err != nil {
			return err
		}
		results = append(results, r)
		b.targetRaw("update", size, callers, r)
		b.noteAhead("update", bytesText(size)+", "+r.Name, r, r.ratio)
	}
	b.showWork(s, "Update by compare-and-swap (asynq: read and write)", size, raw, results)
	return nil
}

// remoteChurn compares creates and deletes.
func (b *bench) remoteChurn(ctx context.Context, s *section, size int) error {
	all, err := b.workers(ctx)
	if err != nil {
		return err
	}
	creates, deletes, err := b.churn(ctx, all, b.Callers, size, 1)
	if err != nil {
		return err
	}
	b.showWork(s, "Create", size, ours, creates)
	b.showWork(s, "Delete", size, ours, deletes)
	return nil
}

// churn has peers create and delete.
func (b *bench) churn(ctx context.Context, all []peers.Peer, callers []int, size, every int) (creates, deletes []Result, err error) {
	for _, n := range callers {
		create := b.rates(n)
		deleted := Result{Name: callersText(n), Samples: make(map[string][]Sample)}
		for _, p := range all {
			c := &churn{peer: p, size: size, callers: n}
			create.Contestants = append(create.Contestants, Contestant{Name: p.Name, Sample: func(ctx context.Context) (Sample, error) {
				made, err := c.create(ctx, b.Slice, every)
				if err != nil {
					return made, err
				}
				if p.Delete == nil {
					if p.Clear != nil {
						p.Clear()
					}
					return made, nil
				}
				gone, err := c.delete(ctx, every)
				if !deleted.has(p.Name) {
					deleted.Names = append(deleted.Names, p.Name)
				}
				deleted.Samples[p.Name] = append(deleted.Samples[p.Name], gone)
				return made, err
			}})
		}
		r, err := b.contest(ctx, create)
		if err != nil {
			return nil, nil, err
		}
		for name, samples := range deleted.Samples {
			deleted.Samples[name] = samples[1:] // the first turn warms up
		}
		deleted.Names = r.Names
		creates, deletes = append(creates, r), append(deletes, deleted)
	}
	return creates, deletes, nil
}

// countPiped makes a call that sends piped commands count as so many.
func countPiped(c Contestant) Contestant {
	sample := c.Sample
	c.Sample = func(ctx context.Context) (Sample, error) {
		s, err := sample(ctx)
		s.Value, s.Allocs = s.Value*piped, s.Allocs/piped
		return s, err
	}
	return c
}

// toolCalls is about how many calls redis-benchmark makes in a turn.
func (b *bench) toolCalls(callers, size int) int {
	perSecond := 10_000
	if callers > 1 {
		perSecond = 60_000
	}
	if size > 8<<10 {
		perSecond /= 4
	}
	return max(int(b.Slice/time.Millisecond)*perSecond/1000, 100)
}

func callersText(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return countText(n) + " callers"
}
