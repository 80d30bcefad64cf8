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
				if smallest := r.Names[0]; name != smallest {
					text += " · " + times(r.ratio(name, smallest, m).Median)
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

// A scale is what the arithmetic starts from.
type scale struct {
	place               string  // the greatest that was measured
	getTime, updateTime float64 // there, of the server, µs
	updateRate          float64 // most updates per second that were measured
	createRate          float64 // the same of creates
	taskBytes           float64 // of the server, for a task of 1 KiB with its share of the indexes
}

// scaleSections computes what many tasks need from what was measured.
func (b *bench) scaleSections(context.Context) error {
	s := b.report.section("Arithmetic for internet scale")
	m := b.scale
	if m.taskBytes == 0 || m.updateTime == 0 || m.updateRate == 0 {
		s.text("The run left out what it needs: work, memory and growth.\n")
		return nil
	}
	atMost := func(us float64) string { return figure(1e6 / us) }
	from := fmt.Sprintf("10^6 / µs of the server, %s, without what the network costs", m.place)
	mixed := writesOfATask / (1/m.createRate + (writesOfATask-1)/m.updateRate)
	writes := float64(liveTasks) * writesOfATask / lifeOfATask.Seconds()
	perShard := shardMemory * shardFilled / m.taskBytes
	byMemory := math.Ceil(liveTasks / perShard)
	byWrites := math.Ceil(writes / mixed)
	t := table{header: []string{"", "figure", "from"}}
	t.row("a task of 1 KiB", figure(m.taskBytes)+" bytes", "measured, indexes included")
	t.row("tasks per GiB", figure((1<<30)/m.taskBytes), "2^30 / bytes")
	t.row("reads per second and shard, at most", atMost(m.getTime), from)
	t.row("updates per second and shard, at most", atMost(m.updateTime), from)
	t.row("updates per second and shard, measured", figure(m.updateRate), "most at any number of callers, which shared the cores with the server; without automatic pipelining")
	t.row("creates per second and shard, measured", figure(m.createRate), "the same")
	t.row("writes per second and shard", figure(mixed), fmt.Sprintf("one create and %d updates, as measured", writesOfATask-1))
	t.row("tasks per shard", figure(perShard), fmt.Sprintf("%d GiB, %.0f%% filled", shardMemory>>30, 100*shardFilled))
	t.row("writes per second in all", figure(writes), fmt.Sprintf("%s live tasks, %d writes each in %v", countText(liveTasks), writesOfATask, lifeOfATask))
	t.row("shards for the memory", countText(int(byMemory)), "live tasks / tasks per shard")
	t.row("shards for the writes", countText(int(byWrites)), "writes in all / writes per shard")
	t.row("shards", countText(int(max(byMemory, byWrites))), "the greater; each with its replicas")
	t.row("one owner outgrows a shard at", fmt.Sprintf("%s tasks or %s writes/s", figure(perShard), figure(mixed)), "all of an owner is in one slot")
	s.table(t)
	return nil
}
