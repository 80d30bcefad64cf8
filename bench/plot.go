package main

import (
	"bytes"
	"image/color"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotGrowth draws the growth with the tasks of one owner, a picture for each store.
func (b *bench) plotGrowth(s *sheet) error {
	b.report.plots = make(map[string][]byte)
	for store, title := range map[string]string{"redis": "Redis: µs of the server for a call", "memory": "In memory: µs for a call"} {
		var works []Result
		for _, r := range s.results {
			if r.Keys[0] == store && r.Keys[1] == growTasks {
				works = append(works, r)
			}
		}
		svg, err := picture(title, growTasks, works)
		if err != nil {
			return err
		}
		b.report.plots["growth-"+store+".svg"] = svg
	}
	return nil
}

// picture draws a line for each result, over two logarithmic axes, with the names of the lines
// on the right. The names of contestants are the numbers on x.
func picture(title, x string, works []Result) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, "µs"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	names := plot.NewLegend()
	names.Top, names.Left = true, true
	for i, r := range works {
		var points plotter.XYs
		for _, name := range r.Names {
			n, err := strconv.ParseFloat(name, 64)
			if err != nil {
				return nil, err
			}
			points = append(points, plotter.XY{X: n, Y: r.stat(name, value).Median})
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, marks.Color, marks.Shape = plotutil.Color(i), plotutil.Color(i), draw.CircleGlyph{}
		p.Add(line, marks)
		names.Add(r.Keys[2], line, marks)
	}
	p.Add(plotter.NewGrid())
	const width, right = 22 * vg.Centimeter, 5 * vg.Centimeter
	canvas := vgsvg.New(width, 10*vg.Centimeter)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	p.Draw(draw.Crop(all, 0, -right, 0, 0))
	names.Draw(draw.Crop(all, width-right, 0, 0, 0))
	var svg bytes.Buffer
	_, err := canvas.WriteTo(&svg)
	return svg.Bytes(), err
}
