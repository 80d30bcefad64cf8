package main

import (
	"fmt"
	"math"

	"github.com/taskstore/taskstore/bench/peers"
)

// showWork shows what contests of one kind of work found: the rates, and then what
// a call took and allocated.
func (b *bench) showWork(s *section, work string, size int, reference string, results []Result) {
	s.table(comparison(fmt.Sprintf("**%s, %s**", work, bytesText(size)), "ops/s", reference, results))
	details := table{header: []string{"a call"}}
	one, many := results[0], results[len(results)-1]
	for _, r := range results {
		if r.Name == callersText(64) {
			many = r
		}
	}
	for _, r := range []Result{one, many} {
		details.header = append(details.header, r.Name+": p50 µs", "p99 µs")
	}
	details.header = append(details.header, "allocations")
	for _, name := range one.Names {
		if !one.has(name) {
			continue
		}
		cells := []string{name}
		for _, r := range []Result{one, many} {
			cells = append(cells, figure(r.stat(name, p50).Median), figure(r.stat(name, p99).Median))
		}
		details.row(append(cells, figure(one.stat(name, allocs).Median))...)
	}
	s.table(details)
}

// targetRaw checks what is promised against go-redis itself.
func (b *bench) targetRaw(work string, size, callers int, r Result) {
	if size != b.Sizes[0] || callers != 1 && callers != 64 {
		return
	}
	b.report.atLeast(0.9, r.ratio(ours, raw, value), "%s, %s, %s: of go-redis sending the same", work, bytesText(size), r.Name)
	b.report.atLeast(0.9, r.ratio(oursPiped, rawAsync, value), "%s, %s, %s, automatic pipelining: of go-redis sending the same so", work, bytesText(size), r.Name)
}

// noteAhead keeps, for each other peer on Redis, the contest in which it comes
// closest to taskstore. ratio says how far taskstore is ahead of it.
func (b *bench) noteAhead(work, circumstances string, r Result, ratio func(a, b string, m metric) Stat) {
	for _, name := range redisPeers {
		if !r.has(name) {
			continue
		}
		ahead := ratio(ours, name, value)
		if worst, ok := b.ahead[work+name]; !ok || ahead.Median < worst.ratio.Median {
			b.ahead[work+name] = closest{ahead, fmt.Sprintf("%s, where %s comes closest (%s): times as fast", work, name, circumstances)}
		}
	}
}

// redisPeers are those on Redis.
var redisPeers = []string{"model", "valkeyrie's commands", "asynq"}

// closest is a contest in which somebody came closest.
type closest struct {
	ratio Stat
	what  string
}

// targetAhead checks that taskstore is ahead of every peer on Redis.
func (b *bench) targetAhead(work string) {
	for _, name := range redisPeers {
		if c, ok := b.ahead[work+name]; ok {
			b.report.atLeast(1, c.ratio, "%s", c.what)
		}
	}
}

// fastest returns the lowest ratio of one contestant to any of the others.
func fastest(r Result, who string, others []peers.Peer) (lowest Stat, name string) {
	lowest.Median = math.Inf(1)
	for _, p := range others {
		if p.Name == who || !r.has(p.Name) {
			continue
		}
		if s := r.ratio(who, p.Name, value); s.Median < lowest.Median {
			lowest, name = s, p.Name
		}
	}
	return lowest, name
}
