package main

import (
	"context"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A progress is a bar on standard error. It is not shown if that is not a terminal.
type progress struct{ bar *progressbar.ProgressBar }

// progress starts a bar over so many steps. The caller must end it.
func (a *app) progress(what string, steps int) progress {
	if !a.errTTY || steps == 0 {
		return progress{}
	}
	p := progress{progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
	a.clear = p.hide
	return p
}

func (p progress) step() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// hide hides the bar until the next step, so that output can be printed.
func (p progress) hide() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end removes the bar.
func (a *app) end(p progress) {
	p.hide()
	a.clear = nil
}

// Write hides the bar and prints on standard output.
func (a *app) Write(text []byte) (int, error) {
	if a.clear != nil && a.outTTY {
		a.clear()
	}
	return a.out.Write(text)
}

// find is [look.Find] with a progress bar.
func (a *app) find(ctx context.Context, i *tasks.Inspector, owner, id string) (tasks.Stored, error) {
	return look.Find(ctx, i, owner, id, func(owners int) (step, end func()) {
		bar := a.progress("owners", owners)
		return bar.step, func() { a.end(bar) }
	})
}
