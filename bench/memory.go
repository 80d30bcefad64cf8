package main

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore/bench/peers"
)

// local returns the stores in this process, ours first, and the limit.
func (b *bench) local(ctx context.Context) (all []peers.Peer, limit peers.Peer, end func() error, err error) {
	nats, _, err := peers.NATS(ctx, false)
	if err != nil {
		return nil, peers.Peer{}, nil, err
	}
	return []peers.Peer{peers.Memory(), peers.A2A(), nats}, peers.Map(), nats.Close, nil
}

// A call in the process is shorter than looking at the clock twice.
const everySome = 64

// memoryWork compares the stores in memory.
func (b *bench) memoryWork(ctx context.Context, s *section, size int) (err error) {
	all, limit, end, err := b.local(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if endErr := end(); err == nil {
			err = endErr
		}
	}()
	everybody := append([]peers.Peer{limit}, all...)
	var gets, updates []Result
	for _, callers := range b.MemoryCallers {
		get := b.rates(callers)
		update := get
		for _, p := range everybody {
			do, err := getCall(ctx, p, callers, size)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			get.Contestants = append(get.Contestants, b.loaded(p.Name, callers, everySome, do))
			if do, err = updateCall(ctx, p, callers, size); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			update.Contestants = append(update.Contestants, b.loaded(p.Name, callers, everySome, do))
		}
		for _, c := range []struct {
			work    string
			contest Contest
			results *[]Result
		}{{"get", get, &gets}, {"update", update, &updates}} {
			r, err := b.contest(ctx, c.contest)
			if err != nil {
				return err
			}
			*c.results = append(*c.results, r)
			if callers <= 2 && size == b.Sizes[0] {
				ratio, name := fastest(r, all[0].Name, all)
				b.report.atLeast(1, ratio, "memory, %s, %s: times the rate of the fastest peer, %s", c.work, r.Name, name)
			}
		}
		if callers == 1 && size == b.Sizes[0] {
			// Whatever else the process allocates is counted too.
			b.report.atMost(1.05, gets[0].stat(oursInMemory, allocs), "memory, get: allocations (0.05 for what else runs)")
		}
	}
	creates, deletes, err := b.churn(ctx, everybody, b.MemoryCallers, size, everySome)
	if err != nil {
		return err
	}
	b.showWork(s, "Get", size, limit.Name, gets)
	b.showWork(s, "Update by compare-and-swap (a2a-go: read and write)", size, limit.Name, updates)
	b.showWork(s, "Create", size, limit.Name, creates)
	b.showWork(s, "Delete", size, limit.Name, deletes)
	return nil
}
