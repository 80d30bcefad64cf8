package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/taskstore/taskstore/bench/peers"
)

// The kinds of work on single tasks.
const (
	workGet    = "get"
	workUpdate = "update"
	workCreate = "create"
	workDelete = "delete"
)

// workSheet begins a sheet of rates and of the time and allocations of a call.
func (b *bench) workSheet(file, reference string) *sheet {
	return b.sheet(sheet{file: file, keys: []string{"work", "size_bytes", "callers"}, reference: reference, columns: []column{
		{"ops_per_s", value}, {"p50_us", p50}, {"p99_us", p99}, {"allocations_per_op", allocs},
	}})
}

func workKeys(work string, size, callers int) []string {
	return []string{work, strconv.Itoa(size), strconv.Itoa(callers)}
}

// work measures the work on single tasks, and times one of every calls: 1 on servers, more in
// memory. One caller on servers has a core, and the servers another.
func (b *bench) work(ctx context.Context, s *sheet, all []peers.Peer, size, callers, every int) error {
	for _, job := range []struct {
		name    string
		prepare func(ctx context.Context, p peers.Peer, callers, size int) (call, error)
	}{{workGet, getCall}, {workUpdate, updateCall}} {
		c := Contest{Keys: workKeys(job.name, size, callers), Rounds: b.Turns, Pinned: callers == 1 && every == 1}
		for _, p := range all {
			do, err := job.prepare(ctx, p, callers, size)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			c.Contestants = append(c.Contestants, b.loaded(p.Name, callers, every, do))
		}
		if err := b.contest(ctx, s, c); err != nil {
			return err
		}
	}
	return b.churn(ctx, s, all, size, callers, every)
}

// loaded makes a contestant of a call. Its turns are many and short, because the speed of a
// caller that waits for its answers depends on the cores that it and the server get.
func (b *bench) loaded(name string, callers, every int, do call) Contestant {
	l := load{callers: callers, last: b.Slice, every: every}
	return Contestant{Name: name, Sample: func(ctx context.Context) (Sample, error) { return l.run(ctx, do) }}
}

// readable is how many tasks the gets go to.
const readable = 128

// getCall reads the tasks of an owner that has readable ones of that size.
func getCall(ctx context.Context, p peers.Peer, callers, size int) (call, error) {
	owner := fmt.Sprint("get-", size, "-", callers)
	data := payload(size)
	names := taskNames(readable)
	err := fill(ctx, readable, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, owner, names[i], data)
		return err
	})
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

// churn measures creates, and the deletes of the same tasks.
func (b *bench) churn(ctx context.Context, s *sheet, all []peers.Peer, size, callers, every int) error {
	create := Contest{Keys: workKeys(workCreate, size, callers), Rounds: b.Turns, Pinned: callers == 1 && every == 1}
	deleted := newResult(workKeys(workDelete, size, callers)...)
	owner := fmt.Sprint("churn-", size, "-", callers)
	data := payload(size)
	for _, p := range all {
		if isLimit(p) {
			continue
		}
		turn := 0
		create.Contestants = append(create.Contestants, Contestant{Name: p.Name, Sample: func(ctx context.Context) (Sample, error) {
			turn++
			names := make([][]string, callers)
			l := load{callers: callers, last: b.Slice, calls: createCap(size), every: every}
			made, err := l.run(ctx, func(ctx context.Context, caller, i int) error {
				name := fmt.Sprintf("%d-%d-%d", turn, caller, i)
				names[caller] = append(names[caller], name)
				_, err := p.Create(ctx, owner, name, data)
				return err
			})
			if err != nil || p.Delete == nil {
				if p.Clear != nil {
					p.Clear()
				}
				return made, err
			}
			doomed := slices.Concat(names...)
			var next atomic.Int64
			gone, err := load{callers: callers, calls: len(doomed), every: every}.run(ctx, func(ctx context.Context, _, _ int) error {
				return p.Delete(ctx, owner, doomed[next.Add(1)-1])
			})
			if turn > 1 { // the first warms up
				deleted.add(p.Name, gone)
			}
			return made, err
		}})
	}
	err := b.contest(ctx, s, create)
	s.results = append(s.results, deleted)
	return err
}
