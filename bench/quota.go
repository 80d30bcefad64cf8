package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// quotaSections measures a create that counts what the owner has.
func (b *bench) quotaSections(ctx context.Context) error {
	s := b.report.section("A limit of tasks per owner")
	s.text("A create that makes sure that the owner has fewer tasks than allowed, by how many it has. The model lists and counts them first.\n")
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	ourPeer, model := remote[0], remote[1]
	limited, err := taskstore.NewRedisBackend(b.client(dbOurs), &taskstore.RedisOptions{MaxRecordsPerOwner: 1 << 30})
	if err != nil {
		return err
	}
	store := peers.Taskstore(ours, limited)
	served := Contest{Name: "µs of the server"}
	var took []Result
	for _, n := range b.Quotas {
		owner := fmt.Sprint("quota-", n)
		for _, p := range []peers.Peer{ourPeer, model} {
			if err := b.fillOwner(ctx, p, owner, n); err != nil {
				return err
			}
		}
		created, err := b.createdUnderLimit(ctx, store, n)
		if err != nil {
			return err
		}
		served.Contestants = append(served.Contestants, created)
		c := Contest{Name: recordsText(n)}
		if n >= 10_000 {
			c.Rounds, c.NoWarmup = b.SlowRounds, true
		}
		c.Contestants = []Contestant{
			{Name: ours, Sample: averaged(b.Calls/10, func(ctx context.Context) error {
				return createAndDelete(ctx, store, owner, nil)
			})},
			{Name: model.Name, Sample: averaged(max(1, b.Calls/10/n), func(ctx context.Context) error {
				return createAndDelete(ctx, model, owner, func() error { return counted(model.List(ctx, owner))(n) })
			})},
		}
		r, err := b.contest(ctx, c)
		if err != nil {
			return err
		}
		took = append(took, r)
	}
	s.table(comparison("**Check, create and delete again, milliseconds at the caller**", "ms", ours, took))
	// All sizes in one contest: what is promised is a ratio between them.
	r, err := b.contest(ctx, served)
	if err != nil {
		return err
	}
	first, last := r.Names[0], r.Names[len(r.Names)-1]
	s.table(comparison("**taskstore: µs of the server for a create under a limit**", "owner has", first, []Result{r}))
	b.report.atMost(1.5, r.ratio(last, first, value), "create under a limit, server time: %s against %s", last, first)
	return b.flush(ctx)
}

// createdUnderLimit measures creates by owners that have n tasks each, of so many
// that none gets a tenth more.
func (b *bench) createdUnderLimit(ctx context.Context, store peers.Peer, n int) (Contestant, error) {
	owners := max(1, 10*b.Calls/n)
	owner := func(i int) string { return fmt.Sprint("limited-", n, "-", i%owners) }
	for i := range owners {
		if err := b.fillOwner(ctx, store, owner(i), n); err != nil {
			return Contestant{}, err
		}
	}
	created := func(i int) string { return fmt.Sprint("new-", i) }
	who := b.served(recordsText(n), func(ctx context.Context, i int) error {
		_, err := store.Create(ctx, owner(i), created(i), payload(1<<10))
		return err
	})
	who.Reset = func(ctx context.Context) error {
		return fill(ctx, b.Calls, func(ctx context.Context, i int) error { return store.Delete(ctx, owner(i), created(i)) })
	}
	return who, nil
}

func createAndDelete(ctx context.Context, p peers.Peer, owner string, check func() error) error {
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	_, err := p.Create(ctx, owner, "one-more", payload(1<<10))
	return errors.Join(err, p.Delete(ctx, owner, "one-more"))
}
