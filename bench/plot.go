package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// A chart draws lines over two logarithmic axes.
type chart struct {
	title, x, y string
	lines       []chartLine
}

type chartLine struct {
	name   string
	points [][2]float64 // x, y; both above 0
}

const (
	chartWidth, chartHeight         = 760, 420
	marginLeft, marginRight         = 80, 190 // the names of the lines are on the right
	marginTop, marginBottom         = 40, 50
	plotWidth                       = chartWidth - marginLeft - marginRight
	plotHeight                      = chartHeight - marginTop - marginBottom
	tickFont, labelFont             = 11, 12
	nameDistance            float64 = 15
)

var chartColors = []string{"#0b62a4", "#c1440e", "#2e7d32", "#7b1fa2", "#8d6e00", "#37474f", "#ad1457"}

// An axis spans whole powers of ten.
type axis struct{ low, high int }

func axisOf(values []float64) axis {
	a := axis{math.MaxInt, math.MinInt}
	for _, v := range values {
		a.low = min(a.low, int(math.Floor(math.Log10(v))))
		a.high = max(a.high, int(math.Ceil(math.Log10(v))))
	}
	if a.high == a.low {
		a.high++
	}
	return a
}

// at returns where v is, from 0 to 1.
func (a axis) at(v float64) float64 {
	return (math.Log10(v) - float64(a.low)) / float64(a.high-a.low)
}

func (c chart) svg() []byte {
	var xs, ys []float64
	for _, l := range c.lines {
		for _, p := range l.points {
			xs, ys = append(xs, p[0]), append(ys, p[1])
		}
	}
	if len(xs) == 0 {
		xs, ys = []float64{1}, []float64{1}
	}
	x, y := axisOf(xs), axisOf(ys)
	left := func(v float64) float64 { return marginLeft + plotWidth*x.at(v) }
	top := func(v float64) float64 { return marginTop + plotHeight*(1-y.at(v)) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">`, chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`, chartWidth, chartHeight)
	text := func(at, down float64, size int, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="#222">%s</text>`, at, down, size, anchor, escaped(s))
	}
	text(marginLeft, 22, labelFont+2, "start", c.title)
	text(marginLeft+plotWidth/2, chartHeight-12, labelFont, "middle", c.x)
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" font-size="%d" text-anchor="middle" fill="#222">%s</text>`,
		marginTop+plotHeight/2, labelFont, escaped(c.y))
	for e := x.low; e <= x.high; e++ {
		at := left(math.Pow10(e))
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/>`, at, marginTop, marginTop+plotHeight)
		text(at, marginTop+plotHeight+16, tickFont, "middle", tick(e))
	}
	for e := y.low; e <= y.high; e++ {
		down := top(math.Pow10(e))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`, marginLeft, down, marginLeft+plotWidth)
		text(marginLeft-8, down+4, tickFont, "end", tick(e))
	}
	for i, l := range c.lines {
		color := chartColors[i%len(chartColors)]
		var path strings.Builder
		for j, p := range l.points {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], left(p[0]), top(p[1]))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, left(p[0]), top(p[1]), color)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`, path.String(), color)
		down := marginTop + 8 + nameDistance*float64(i)
		fmt.Fprintf(&b, `<path d="M%d %.1fh18" stroke="%s" stroke-width="2"/>`, marginLeft+plotWidth+10, down-4, color)
		text(marginLeft+plotWidth+34, down, tickFont, "start", l.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// tick writes a power of ten.
func tick(e int) string {
	if e < 0 {
		return fmt.Sprintf("%.*f", -e, math.Pow10(e))
	}
	return countText(int(math.Pow10(e)))
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
