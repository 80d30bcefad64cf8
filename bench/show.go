package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

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
			cells = append(cells, figure(r.stat(name, p50).Median), p99Text(r, name))
		}
		details.row(append(cells, figure(one.stat(name, allocs).Median))...)
	}
	s.table(details)
}

// enough is how many calls of a turn it takes to speak of the hundredth part.
const enough = 200

// p99Text writes a p99 where a turn has enough calls.
func p99Text(r Result, name string) string {
	if r.stat(name, timedCalls).Median < enough {
		return "-"
	}
	return figure(r.stat(name, p99).Median)
}

// targetRaw checks what is promised against go-redis itself.
func (b *bench) targetRaw(work string, size, callers int, r Result) {
	if size != b.Sizes[0] || callers != 1 && callers != 64 {
		return
	}
	b.report.atLeast(0.9, r.ratio(ours, raw, value), "%s, %s, %s: of go-redis sending the same", work, bytesText(size), r.Name)
	b.report.atLeast(0.9, r.ratio(oursPiped, rawAsync, value), "%s, %s, %s, automatic pipelining: of go-redis sending the same so", work, bytesText(size), r.Name)
}

// A lead is how far taskstore is ahead of another peer on Redis in one contest.
type lead struct {
	work, peer, circumstances string
	times                     Stat
}

// redisPeers are those on Redis.
var redisPeers = []string{"model", "valkeyrie's commands", "asynq"}

// noteAhead keeps the leads of a contest. ratio says how far taskstore is ahead.
func (b *bench) noteAhead(work, circumstances string, r Result, ratio func(a, b string, m metric) Stat) {
	for _, name := range redisPeers {
		if r.has(name) {
			b.leads = append(b.leads, lead{work, name, circumstances, ratio(ours, name, value)})
		}
	}
}

// targetAhead checks that taskstore is ahead of every peer on Redis: where a peer
// comes closest, and wherever else one is faster.
func (b *bench) targetAhead(work string) {
	for _, name := range redisPeers {
		var leads []lead
		for _, l := range b.leads {
			if l.work == work && l.peer == name {
				leads = append(leads, l)
			}
		}
		slices.SortFunc(leads, func(a, b lead) int { return cmp.Compare(a.times.Median, b.times.Median) })
		for i, l := range leads {
			if i == 0 || l.times.Median < 1 {
				b.report.atLeast(1, l.times, "%s, %s: times as fast as %s", l.work, l.circumstances, l.peer)
			}
		}
	}
}

// fastest returns the lowest ratio of one contestant to any of the others.
func fastest(r Result, who string, others []peers.Peer) (lowest Stat, name string) {
	lowest.Median = math.NaN()
	for _, p := range others {
		if p.Name == who || !r.has(p.Name) {
			continue
		}
		if s := r.ratio(who, p.Name, value); !(s.Median >= lowest.Median) {
			lowest, name = s, p.Name
		}
	}
	return lowest, name
}
