package main

import (
	"context"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A progress is a bar on the terminal of standard error, or nothing where that is none.
type progress struct{ bar *progressbar.ProgressBar }

// progress starts a bar over so many steps. The caller ends it.
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

// hide takes the bar away until the next step, for what is printed meanwhile.
func (p progress) hide() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end takes the bar away.
func (a *app) end(p progress) {
	p.hide()
	a.clear = nil
}

// Write prints on standard output, with no bar in the way.
func (a *app) Write(text []byte) (int, error) {
	if a.clear != nil && a.outTTY {
		a.clear()
	}
	return a.out.Write(text)
}

// find finds a task as [look.Find] does, and shows how far it is.
func (a *app) find(ctx context.Context, i *tasks.Inspector, owner, id string) (tasks.Stored, error) {
	return look.Find(ctx, i, owner, id, func(owners int) (step, end func()) {
		bar := a.progress("owners", owners)
		return bar.step, func() { a.end(bar) }
	})
}
