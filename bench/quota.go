package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// quotaTopic measures a create that makes sure that the owner has fewer tasks than a limit,
// and the delete that takes it back. The model lists the tasks and counts them first.
func (b *bench) quotaTopic(ctx context.Context) error {
	s := b.sheet(sheet{file: "quota", keys: []string{"tasks"}, columns: []column{{"ms", value}}, reference: ours})
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	limited, err := b.redisStore(ours, dbOurs, &taskstore.RedisOptions{MaxRecordsPerOwner: 1 << 30})
	if err != nil {
		return err
	}
	for _, n := range b.Quotas {
		owner := fmt.Sprint("quota-", n)
		c := Contest{Keys: []string{strconv.Itoa(n)}, Pinned: true}
		if n >= 10_000 {
			c.Rounds, c.NoWarmup = b.SlowRounds, true
		}
		for _, p := range []peers.Peer{limited, remote[1]} {
			if err := fillOwner(ctx, p, owner, n); err != nil {
				return err
			}
			calls := b.Calls / 10
			if p.Name == model {
				calls = max(1, calls/n)
			}
			c.Contestants = append(c.Contestants, Contestant{Name: p.Name, Sample: averaged(calls, 1e3, func(ctx context.Context, _ int) error {
				if p.Name == model {
					if err := counted(p.List(ctx, owner))(n); err != nil {
						return err
					}
				}
				_, err := p.Create(ctx, owner, "one-more", payload(1<<10))
				return errors.Join(err, p.Delete(ctx, owner, "one-more"))
			})})
		}
		if err := b.contest(ctx, s, c); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}
