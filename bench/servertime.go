package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// serverTime returns the microseconds that the server spent on each of n calls of f. It sums
// up the commands that clients sent: those that a script runs are part of the script. The
// server's clock goes on while other threads have its core, so its contests are pinned.
func serverTime(ctx context.Context, c *redis.Client, n int, f func(ctx context.Context, i int) error) (Sample, error) {
	ctx = context.WithoutCancel(ctx)
	if err := c.ConfigResetStat(ctx).Err(); err != nil {
		return Sample{}, err
	}
	for i := range n {
		if err := f(ctx, i); err != nil {
			return Sample{}, err
		}
	}
	stats, err := c.Info(ctx, "commandstats").Result()
	if err != nil {
		return Sample{}, err
	}
	us, err := microseconds(stats)
	return Sample{Value: us / float64(n)}, err
}

// microseconds adds up the time of the commands that clients sent, from INFO commandstats.
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

// served makes a contestant that is measured by the server's time.
func (b *bench) served(name string, f func(ctx context.Context, i int) error) Contestant {
	return Contestant{Name: name, Sample: func(ctx context.Context) (Sample, error) {
		return serverTime(ctx, b.client(dbScratch), b.Calls, f)
	}}
}
