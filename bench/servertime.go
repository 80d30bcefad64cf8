package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// serverTime returns the microseconds that the server spent on each of n calls of
// f, and as P50 what a call took. It sums up the commands that clients sent: those
// that a script runs are part of the script. The server's clock goes on while
// threads of the client have its core, so the client does no more than it must:
// its ctx cannot end.
func serverTime(ctx context.Context, c *redis.Client, n int, f func(ctx context.Context, i int) error) (Sample, error) {
	ctx = context.WithoutCancel(ctx)
	if err := c.ConfigResetStat(ctx).Err(); err != nil {
		return Sample{}, err
	}
	start := time.Now()
	for i := range n {
		if err := f(ctx, i); err != nil {
			return Sample{}, err
		}
	}
	took := micros(time.Since(start))
	stats, err := c.Info(ctx, "commandstats").Result()
	if err != nil {
		return Sample{}, err
	}
	us, err := microseconds(stats)
	return Sample{Value: us / float64(n), P50: took / float64(n)}, err
}

// microseconds adds up what INFO commandstats says of the commands that clients
// sent.
func microseconds(stats string) (sum float64, err error) {
	scripts := strings.Contains(stats, "cmdstat_evalsha:") || strings.Contains(stats, "cmdstat_eval:")
	for line := range strings.Lines(stats) {
		name, fields, ok := strings.Cut(strings.TrimSpace(line), ":")
		name, isCommand := strings.CutPrefix(name, "cmdstat_")
		if !ok || !isCommand {
			continue
		}
		switch name {
		case "config|resetstat", "info":
			continue
		case "eval", "evalsha":
		default:
			if scripts {
				continue
			}
		}
		_, text, _ := strings.Cut(fields, "usec=")
		text, _, _ = strings.Cut(text, ",")
		us, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO commandstats says %q of %s", fields, name)
		}
		sum += us
	}
	if sum == 0 {
		return 0, errors.New("the server reports no commands")
	}
	return sum, nil
}

// A served contestant is measured by the server's time.
func (b *bench) served(name string, f func(ctx context.Context, i int) error) Contestant {
	return Contestant{Name: name, Sample: func(ctx context.Context) (Sample, error) {
		return serverTime(ctx, b.client(dbScratch), b.Calls, f)
	}}
}

// serverRounds is how many times as many turns as others these have.
const serverRounds = 3

// Ways to have taskstore, and the model.
const (
	hints, noHints, theModel = "taskstore", "taskstore, no hints", "model"
)

// serverTimeSections compares what the server has to do.
func (b *bench) serverTimeSections(ctx context.Context) error {
	s := b.report.section("The server's time")
	s.text("Microseconds of one server for each call, 1 KiB of data, as INFO commandstats counts them, and the ratio to the model's. " +
		"One server executes one command at a time: this bounds what a shard can do.\n")
	var results []Result
	for _, expires := range []bool{true, false} {
		r, err := b.serverTimes(ctx, expires)
		if err != nil {
			return err
		}
		results = append(results, r...)
	}
	s.table(comparison("", "µs", theModel, results))
	for i, what := range []string{"with an expiry", "without one"} {
		update := results[1+3*i]
		b.report.atMost(0.85, update.ratio(hints, theModel, value), "server time of an update %s: of the model's", what)
		b.report.atMost(0.75, update.ratio(noHints, theModel, value), "server time of an update %s, no hints: of the model's", what)
	}
	b.report.atMost(0.85, results[0].ratio(hints, theModel, value), "server time of a get: of the model's HGETALL")
	return b.flush(ctx)
}

// serverTimes measures get, update and create; the last also deletes, unmeasured.
func (b *bench) serverTimes(ctx context.Context, expires bool) ([]Result, error) {
	suffix := ""
	if !expires {
		suffix = ", no expiry"
	}
	get := Contest{Name: "get" + suffix}
	update := Contest{Name: "update" + suffix}
	create := Contest{Name: "create" + suffix}
	for _, name := range []string{hints, noHints, theModel} {
		p, err := b.servedPeer(ctx, name, expires)
		if err != nil {
			return nil, err
		}
		owner := "served" + suffix + name
		record, err := p.Create(ctx, owner, "task", payload(1<<10))
		if err != nil {
			return nil, err
		}
		if name != noHints {
			get.Contestants = append(get.Contestants, b.served(name, func(ctx context.Context, _ int) error {
				_, err := p.Get(ctx, owner, "task")
				return err
			}))
		}
		update.Contestants = append(update.Contestants, b.served(name, func(ctx context.Context, _ int) (err error) {
			record, err = p.Update(ctx, owner, "task", payload(1<<10), record)
			return err
		}))
		making := b.served(name, func(ctx context.Context, i int) error {
			_, err := p.Create(ctx, owner, fmt.Sprint("new-", i), payload(1<<10))
			return err
		})
		making.Reset = func(ctx context.Context) error {
			return fill(ctx, b.Calls, func(ctx context.Context, i int) error { return p.Delete(ctx, owner, fmt.Sprint("new-", i)) })
		}
		create.Contestants = append(create.Contestants, making)
	}
	var results []Result
	for _, c := range []Contest{get, update, create} {
		c.Rounds = serverRounds * b.Rounds // they are short, and what disturbs the server shows in full
		r, err := b.contest(ctx, c)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// servedPeer returns one of the three that are compared.
func (b *bench) servedPeer(ctx context.Context, name string, expires bool) (peers.Peer, error) {
	if name == theModel {
		p := peers.Model(b.client(dbModel))
		if !expires {
			p = peers.ModelExpiring(b.client(dbModel), time.Time{})
		}
		return p, nil
	}
	store, err := taskstore.NewRedisBackend(b.client(dbOurs), &taskstore.RedisOptions{NoHints: name == noHints})
	if err != nil {
		return peers.Peer{}, err
	}
	if _, err := store.Now(ctx); err != nil { // not to be measured
		return peers.Peer{}, err
	}
	if expires {
		return peers.Taskstore(name, store), nil
	}
	return peers.TaskstoreExpiring(name, store, time.Time{}), nil
}
