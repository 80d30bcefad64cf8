package main

import "strconv"

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
