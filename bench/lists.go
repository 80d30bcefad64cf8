package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/bench/peers"
)

// pageSize is a page for a person.
const pageSize = 50

const (
	workList = "list"
	workPage = "first page of 50"
)

func (b *bench) listSheet(file string) *sheet {
	return b.sheet(sheet{file: file, keys: []string{"work", "tasks"}, columns: []column{{"ms", value}}, reference: ours})
}

// listTopic measures lists and first pages.
func (b *bench) listTopic(ctx context.Context) error {
	s := b.listSheet("lists")
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	for _, n := range b.Lists {
		err = errors.Join(err, b.lists(ctx, s, remote, n))
	}
	return errors.Join(err, b.flush(ctx))
}

// lists has all peers that can list an owner's n tasks, and show the first page of them.
func (b *bench) lists(ctx context.Context, s *sheet, all []peers.Peer, n int) error {
	owner := fmt.Sprint("list-", n)
	list := Contest{Keys: []string{workList, strconv.Itoa(n)}, Pinned: true}
	page := Contest{Keys: []string{workPage, strconv.Itoa(n)}, Pinned: true}
	if n >= 10_000 {
		list.Rounds, list.NoWarmup = b.SlowRounds, true
	}
	for _, p := range all {
		if p.List == nil {
			continue
		}
		if err := fillOwner(ctx, p, owner, n); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		read := func(ctx context.Context, _ int) error { return counted(p.List(ctx, owner))(n) }
		list.Contestants = append(list.Contestants, Contestant{Name: p.Name, Sample: averaged(max(1, b.Calls/n), 1e3, read)})
		if p.Page != nil {
			read := func(ctx context.Context, _ int) error { return counted(p.Page(ctx, owner, pageSize))(min(n, pageSize)) }
			page.Contestants = append(page.Contestants, Contestant{Name: p.Name, Sample: averaged(max(1, b.Calls/pageSize), 1e3, read)})
		}
	}
	if all[0].Name == ours { // the stores side by side have no limit
		read := func(ctx context.Context, _ int) error { return b.limitList(ctx, owner, n) }
		list.Contestants = append(list.Contestants, Contestant{Name: "go-redis, pipelines of HMGET", Sample: averaged(max(1, b.Calls/n), 1e3, read)})
	}
	err := b.contest(ctx, s, list)
	if err == nil {
		err = b.contest(ctx, s, page)
	}
	return err
}

// limitList is the limit of a list: go-redis reads records whose keys it has, in pipelines,
// and leaves them as they are.
func (b *bench) limitList(ctx context.Context, owner string, n int) error {
	const length = 250
	for from := 0; from < n; from += length {
		pipe := b.client(dbOurs).Pipeline()
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

func counted(got int, err error) func(want int) error {
	return func(want int) error {
		if err == nil && got != want {
			err = fmt.Errorf("%d tasks are listed, not %d", got, want)
		}
		return err
	}
}
