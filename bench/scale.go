package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

// showGrowth shows what works cost at each size, as a table and, if it has a file,
// as a plot.
func (b *bench) showGrowth(s *section, axis, file, what string, works []Result, m metric) {
	t := table{caption: "**" + what + "**", header: []string{axis}}
	c := chart{title: what + " for a call", x: axis, y: "µs"}
	var sizes []string
	for _, r := range works {
		t.header = append(t.header, r.Name)
		if len(r.Names) > len(sizes) {
			sizes = r.Names
		}
	}
	for _, name := range sizes {
		cells := []string{name}
		for _, r := range works {
			text := "-"
			if r.has(name) {
				text = figure(r.stat(name, m).Median)
				if name != sizes[0] {
					text += " · " + times(r.ratio(name, sizes[0], m).Median)
				}
			}
			cells = append(cells, text)
		}
		t.row(cells...)
	}
	s.table(t)
	if file == "" {
		return
	}
	for _, r := range works {
		line := chartLine{name: r.Name}
		for _, name := range r.Names {
			if y := r.stat(name, m).Median; y > 0 {
				line.points = append(line.points, [2]float64{leading(name), y})
			}
		}
		c.lines = append(c.lines, line)
	}
	b.report.plot(s, file, c.title, c.svg())
}

// leading returns the number that a name such as "1,000 tasks" starts with.
func leading(name string) float64 {
	digits := ""
	for _, r := range name {
		if r == ',' {
			continue
		}
		if r < '0' || r > '9' {
			break
		}
		digits += string(r)
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 1
	}
	return n
}

// What the arithmetic assumes. Change it here and run again.
const (
	liveTasks     = 100_000_000
	writesOfATask = 10
	lifeOfATask   = time.Hour
	shardMemory   = 16 << 30
	shardFilled   = 0.6 // the rest is for peaks, replication and forks
)

// scaleSections computes what many tasks need from what was measured.
func (b *bench) scaleSections(context.Context) error {
	s := b.report.section("Arithmetic for internet scale")
	if b.taskBytes == 0 || b.updateTime == 0 || b.updateRate == 0 {
		s.text("The run left out what it needs: work, server and memory.\n")
		return nil
	}
	byServer := 1e6 / b.updateTime
	writes := float64(liveTasks) * writesOfATask / lifeOfATask.Seconds()
	perShard := shardMemory * shardFilled / b.taskBytes
	byMemory := math.Ceil(liveTasks / perShard)
	byWrites := math.Ceil(writes / b.updateRate)
	t := table{header: []string{"", "figure", "from"}}
	t.row("a task of 1 KiB", figure(b.taskBytes)+" bytes", "measured, indexes included")
	t.row("tasks per GiB", figure((1<<30)/b.taskBytes), "2^30 / bytes")
	t.row("updates per second and shard, measured", figure(b.updateRate), "most at any number of callers, which shared the cores with the server")
	t.row("updates per second and shard, at most", figure(byServer), "10^6 / µs of the server for an update")
	t.row("reads per second and shard, at most", figure(1e6/b.getTime), "10^6 / µs of the server for a get, without what the network costs")
	t.row("tasks per shard", figure(perShard), fmt.Sprintf("%d GiB, %.0f%% filled", shardMemory>>30, 100*shardFilled))
	t.row("writes per second in all", figure(writes), fmt.Sprintf("%s live tasks, %d writes each in %v", countText(liveTasks), writesOfATask, lifeOfATask))
	t.row("shards for the memory", figure(byMemory), "live tasks / tasks per shard")
	t.row("shards for the writes", figure(byWrites), "writes / measured updates per shard")
	t.row("shards", figure(max(byMemory, byWrites)), "the greater; each with its replicas")
	t.row("one owner outgrows a shard at", fmt.Sprintf("%s tasks or %s writes/s", figure(perShard), figure(b.updateRate)), "all of an owner is in one slot")
	s.table(t)
	return nil
}
