package main

import (
	"context"
	"errors"
	"slices"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// workers returns the peers on servers, and taskstore in its other ways.
func (b *bench) workers(ctx context.Context) ([]peers.Peer, error) {
	remote, err := b.remote(ctx)
	if err != nil {
		return nil, err
	}
	limits, err := b.limits(ctx)
	if err != nil {
		return nil, err
	}
	piped, err := b.redisStore(oursPiped, dbPiped, &taskstore.RedisOptions{AutoPipeline: true})
	if err != nil {
		return nil, err
	}
	endless, err := b.redisStore(oursEndless, dbEndless, nil)
	if err != nil {
		return nil, err
	}
	return slices.Concat(limits, remote[:1], []peers.Peer{withoutEnd(endless), piped}, remote[1:]), nil
}

// withoutEnd gives calls a ctx that cannot end, unlike that of a server's requests.
func withoutEnd(p peers.Peer) peers.Peer {
	get, update, del := p.Get, p.Update, p.Delete
	p.Get = func(_ context.Context, owner, task string) (peers.Record, error) {
		return get(context.Background(), owner, task)
	}
	p.Update = func(_ context.Context, owner, task string, data []byte, prev peers.Record) (peers.Record, error) {
		return update(context.Background(), owner, task, data, prev)
	}
	p.Create = func(ctx context.Context, owner, task string, data []byte) (peers.Record, error) {
		return p.Update(ctx, owner, task, data, peers.Record{})
	}
	p.Delete = func(_ context.Context, owner, task string) error {
		return del(context.Background(), owner, task)
	}
	return p
}

// latencyTopic measures one caller, with a core for it and another for the servers.
func (b *bench) latencyTopic(ctx context.Context) error {
	s := b.workSheet("latency", raw)
	all, err := b.workers(ctx)
	if err != nil {
		return err
	}
	return b.withStores(ctx, func(own []kept) error {
		for _, k := range own {
			if k.Name != ours && k.Name != oursInMemory {
				all = append(all, k.Peer)
			}
		}
		return b.work(ctx, s, all, b.Sizes[0], 1, 1)
	})
}

// serversTopic measures many callers on servers.
func (b *bench) serversTopic(ctx context.Context) error {
	s := b.workSheet("servers", raw)
	all, err := b.workers(ctx)
	if err != nil {
		return err
	}
	for _, size := range b.Sizes {
		for _, callers := range b.Callers {
			if err := b.work(ctx, s, all, size, callers, 1); err != nil {
				return err
			}
		}
	}
	return b.flush(ctx)
}

// memoryTopic compares the stores in this process.
func (b *bench) memoryTopic(ctx context.Context) error {
	s := b.workSheet("memory", "a bare map")
	all, end, err := b.local(ctx)
	if err != nil {
		return err
	}
	const every = 64
	for _, size := range b.Sizes {
		for _, callers := range b.MemoryCallers {
			err = errors.Join(err, b.work(ctx, s, all, size, callers, every))
		}
	}
	return errors.Join(err, end())
}
