package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/taskstore/taskstore/bench/peers"
)

// bytesTopic measures the bytes that a task takes: by the growth of Redis's used_memory, of
// the heap or of a file. Everything counts, indexes too.
func (b *bench) bytesTopic(ctx context.Context) error {
	s := b.sheet(sheet{file: "bytes", keys: []string{"growth_of"}, columns: []column{{"bytes_per_task", value}, {"bytes_beyond_data", extra}}})
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	local, end, err := b.local(ctx)
	if err != nil {
		return err
	}
	onRedis, onHeap, onDisk := newResult("redis_used_memory"), newResult("heap"), newResult("file")
	for _, p := range remote[:4] { // the fifth has a server of its own
		err = errors.Join(err, b.grow(ctx, &onRedis, p, b.usedMemory))
	}
	for _, p := range local {
		err = errors.Join(err, b.grow(ctx, &onHeap, p, heap))
	}
	err = errors.Join(err, end(), b.withStores(ctx, func(all []kept) (err error) {
		for _, k := range all {
			if k.disk != nil {
				err = errors.Join(err, b.grow(ctx, &onDisk, k.Peer, k.disk))
			}
		}
		return err
	}))
	s.results = []Result{onRedis, onHeap, onDisk}
	return err
}

// grow adds to r by how much each task makes a size grow.
func (b *bench) grow(ctx context.Context, r *Result, p peers.Peer, size func(context.Context) (float64, error)) error {
	create := func(ctx context.Context, owner string, i int) error {
		_, err := p.Create(ctx, owner, fmt.Sprintf("task-%032d", i), payload(1<<10)) // data of its own, which it may keep
		return err
	}
	// Scripts and connections do not belong to the tasks.
	if err := fill(ctx, 1000, func(ctx context.Context, i int) error { return create(ctx, "warm-up", i) }); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	before, err := size(ctx)
	if err != nil {
		return err
	}
	const each = 100 // tasks of an owner
	if err := fill(ctx, b.Owned, func(ctx context.Context, i int) error {
		return create(ctx, fmt.Sprintf("owner-%06d", i/each), i)
	}); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	after, err := size(ctx)
	if err != nil {
		return err
	}
	// The store has been reachable until now, and with it its tasks.
	_, err = p.Get(ctx, "owner-000000", fmt.Sprintf("task-%032d", 0))
	bytes := (after - before) / float64(b.Owned)
	r.add(p.Name, Sample{Value: bytes, Extra: bytes - 1024})
	return err
}

// usedMemory returns used_memory without the buffers of clients.
func (b *bench) usedMemory(ctx context.Context) (float64, error) {
	info, err := b.client(dbScratch).Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	used, err := infoNumber(info, "used_memory")
	if err != nil {
		return 0, err
	}
	clients, err := infoNumber(info, "mem_clients_normal")
	return used - clients, err
}

func infoNumber(info, name string) (float64, error) {
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("the server's INFO has no %s", name)
}

func heap(context.Context) (float64, error) {
	runtime.GC()
	runtime.GC() // it frees the memory that finalizers and pools held in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), nil
}
