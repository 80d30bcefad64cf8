package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore/bench/peers"
)

// The work on single tasks: create, get, update, delete.

// readable is how many tasks the gets go to.
const readable = 128

// getCall reads the tasks of an owner that has readable ones of that size.
func getCall(ctx context.Context, p peers.Peer, callers, size int) (call, error) {
	owner := fmt.Sprint("get-", size, "-", callers)
	data := payload(size)
	err := fill(ctx, readable, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, owner, taskName(i), data)
		return err
	})
	names := taskNames(readable)
	return func(ctx context.Context, caller, i int) error {
		r, err := p.Get(ctx, owner, names[(caller*17+i)%readable])
		if err == nil && len(r.Data) != size {
			err = fmt.Errorf("%d bytes came back, %d were written", len(r.Data), size)
		}
		return err
	}, err
}

// updateCall has each caller update a task of its own.
func updateCall(ctx context.Context, p peers.Peer, callers, size int) (call, error) {
	owner := fmt.Sprint("update-", size, "-", callers)
	data := payload(size)
	names := taskNames(callers)
	records := make([]peers.Record, callers)
	err := fill(ctx, callers, func(ctx context.Context, i int) (err error) {
		records[i], err = p.Create(ctx, owner, names[i], data)
		return err
	})
	return func(ctx context.Context, caller, _ int) (err error) {
		records[caller], err = p.Update(ctx, owner, names[caller], data, records[caller])
		return err
	}, err
}

// A churn creates tasks in one turn and deletes the same in the next.
type churn struct {
	peer    peers.Peer
	size    int
	callers int
	turn    int
	made    []string
}

func (c *churn) owner() string { return fmt.Sprint("churn-", c.size, "-", c.callers) }

func (c *churn) create(ctx context.Context, last time.Duration, every int) (Sample, error) {
	c.turn++
	made := make([][]string, c.callers)
	data := payload(c.size)
	s, err := load{callers: c.callers, last: last, calls: createCap(c.size), every: every}.run(ctx, func(ctx context.Context, caller, i int) error {
		name := fmt.Sprintf("%d-%d-%d", c.turn, caller, i)
		made[caller] = append(made[caller], name)
		_, err := c.peer.Create(ctx, c.owner(), name, data)
		return err
	})
	c.made = slices.Concat(made...)
	return s, err
}

func (c *churn) delete(ctx context.Context, every int) (Sample, error) {
	var next atomic.Int64
	return load{callers: c.callers, calls: len(c.made), every: every}.run(ctx, func(ctx context.Context, _, _ int) error {
		return c.peer.Delete(ctx, c.owner(), c.made[next.Add(1)-1])
	})
}

// workSections measures the four on servers and in memory.
func (b *bench) workSections(ctx context.Context) error {
	s := b.report.section("Work on single tasks, on servers")
	s.text("Operations per second of callers that each wait for their answer, and the ratio to go-redis sending what taskstore sends " +
		"with nothing around it. Each caller has a task of its own to update. Client and server share the machine; NATS runs in the " +
		"client's process. redis-benchmark is a client in C.\n")
	for _, size := range b.Sizes {
		if err := b.remoteGets(ctx, s, size); err != nil {
			return err
		}
		if err := b.remoteUpdates(ctx, s, size); err != nil {
			return err
		}
		if err := b.remoteChurn(ctx, s, size); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	m := b.report.section("Work on single tasks, in memory")
	m.text("Operations per second, and the ratio to a map under a lock, which copies no data and knows no owners, expiry or order.\n")
	for _, size := range b.Sizes {
		if err := b.memoryWork(ctx, m, size); err != nil {
			return err
		}
	}
	return nil
}

func taskName(i int) string { return fmt.Sprint("task-", i) }

func taskNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = taskName(i)
	}
	return names
}
