package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/bench/peers"
)

// pageSize is a page that a person looks at.
const pageSize = 50

// listSections measures lists and first pages.
func (b *bench) listSections(ctx context.Context) error {
	s := b.report.section("Lists")
	s.text("Milliseconds to read all tasks of one owner, 1 KiB each, data included.\n")
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	local, _, end, err := b.local(ctx)
	if err != nil {
		return err
	}
	var lists, pages, localLists, localPages []Result
	for _, n := range b.Lists {
		r, err := b.lists(ctx, remote, n)
		if err != nil {
			return errors.Join(err, end())
		}
		lists = append(lists, r)
		b.targetList(n, r)
		if n == b.Lists[len(b.Lists)-1] {
			if r, err = b.pages(ctx, remote, n); err != nil {
				return errors.Join(err, end())
			}
			pages = append(pages, r)
		}
		if r, err = b.lists(ctx, local, n); err != nil {
			return errors.Join(err, end())
		}
		localLists = append(localLists, r)
		if r, err = b.pages(ctx, local, n); err != nil {
			return errors.Join(err, end())
		}
		localPages = append(localPages, r)
	}
	s.table(comparison("**List, on servers**", "ms", ours, lists))
	s.table(comparison(fmt.Sprintf("**First page of %d, on servers** (those without pages list everything)", pageSize), "ms", ours, pages))
	s.table(comparison("**List, in memory**", "ms", local[0].Name, localLists))
	s.table(comparison("**First page, in memory**", "ms", local[0].Name, localPages))
	return errors.Join(end(), b.flush(ctx))
}

func recordsText(n int) string { return countText(n) + " tasks" }

// lists has everybody list an owner's n tasks who can.
func (b *bench) lists(ctx context.Context, all []peers.Peer, n int) (Result, error) {
	if all[0].Name == ours {
		limit := peers.Peer{Name: limitList, List: func(ctx context.Context, owner string) (int, error) {
			return n, b.limitList(owner, n)(ctx)
		}}
		endless := peers.Peer{Name: oursForever, List: func(_ context.Context, owner string) (int, error) {
			return all[0].List(context.Background(), owner)
		}}
		all = append(slices.Clone(all), endless, limit)
	}
	return b.reads(ctx, all, n, func(p peers.Peer, owner string) (func(context.Context) error, int) {
		if p.List == nil {
			return nil, 0
		}
		return func(ctx context.Context) error { return counted(p.List(ctx, owner))(n) }, n
	})
}

// limitList is the limit of a list: go-redis reads records whose keys it is told,
// in pipelines, and makes nothing of them.
const limitList = "go-redis, pipelines of HMGET"

func (b *bench) limitList(owner string, n int) func(context.Context) error {
	c := b.client(dbOurs)
	return func(ctx context.Context) error {
		const length = 250
		for from := 0; from < n; from += length {
			pipe := c.Pipeline()
			for i := range min(length, n-from) {
				pipe.HMGet(ctx, "taskstore:tasks:{"+owner+"}:"+taskName(from+i), "version", "data", "expires_at")
			}
			commands, err := pipe.Exec(ctx)
			if err != nil {
				return err
			}
			for _, cmd := range commands {
				if values := cmd.(*redis.SliceCmd).Val(); values[0] == nil {
					return errors.New("a record is missing at its key: adapt the limit to taskstore's layout")
				}
			}
		}
		return nil
	}
}

// pages has everybody show the first page.
func (b *bench) pages(ctx context.Context, all []peers.Peer, n int) (Result, error) {
	return b.reads(ctx, all, n, func(p peers.Peer, owner string) (func(context.Context) error, int) {
		switch {
		case p.Page != nil:
			page := min(n, pageSize)
			return func(ctx context.Context) error { return counted(p.Page(ctx, owner, pageSize))(page) }, page
		case p.List != nil:
			return func(ctx context.Context) error { return counted(p.List(ctx, owner))(n) }, n
		}
		return nil, 0
	})
}

func counted(got int, err error) func(want int) error {
	return func(want int) error {
		if err == nil && got != want {
			err = fmt.Errorf("%d tasks are listed, not %d", got, want)
		}
		return err
	}
}

// reads measures what read returns for each peer, on an owner with n tasks. With it
// comes how many tasks it reads.
func (b *bench) reads(ctx context.Context, all []peers.Peer, n int, read func(p peers.Peer, owner string) (func(context.Context) error, int)) (Result, error) {
	c := Contest{Name: recordsText(n)}
	if n >= 10_000 {
		c.Rounds, c.NoWarmup = b.SlowRounds, true
	}
	owner := fmt.Sprint("list-", n)
	for _, p := range all {
		do, tasks := read(p, owner)
		if do == nil {
			continue
		}
		if p.Create != nil {
			if err := b.fillOwner(ctx, p, owner, n); err != nil {
				return Result{}, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		c.Contestants = append(c.Contestants, Contestant{Name: p.Name, Sample: averaged(max(1, b.Calls/tasks), do)})
	}
	return b.contest(ctx, c)
}

// averaged measures the milliseconds of one of n calls in a row, each of which has
// a ctx that can end.
func averaged(n int, do func(context.Context) error) func(context.Context) (Sample, error) {
	return func(ctx context.Context) (Sample, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s, err := timed(func() error {
			for range n {
				if err := do(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		s.Value /= float64(n)
		s.Allocs /= float64(n)
		return s, err
	}
}

// targetList checks what is promised of lists.
func (b *bench) targetList(n int, r Result) {
	for size, limit := range map[int]float64{1000: 15, 100_000: 12} {
		if n == size {
			b.report.atLeast(limit, r.ratio("model", ours, value), "list of %s: times faster than the model's", recordsText(n))
		}
	}
	b.noteAhead("list", recordsText(n), r, func(a, b string, m metric) Stat { return r.ratio(b, a, m) }) // of times, not rates
}
