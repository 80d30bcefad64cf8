package main

import (
	"bytes"
	"context"
	"time"
)

// home makes a terminal draw over its contents; below clears the rest.
const (
	home  = "\x1b[H\x1b[2J"
	below = "\x1b[J"
)

// everyInterval calls draw at every interval until ctx ends. On a terminal each drawing
// replaces the previous one; otherwise an empty line separates them.
func (a *app) everyInterval(ctx context.Context, interval time.Duration, draw func(w *bytes.Buffer) error) error {
	for first := true; ; first = false {
		var w bytes.Buffer
		if err := draw(&w); err != nil {
			return err
		}
		before, after := "", ""
		switch {
		case a.outTTY:
			before, after = home, below
		case !first:
			before = "\n"
		}
		if _, err := a.out.Write([]byte(before + w.String() + after)); err != nil {
			return err
		}
		if err := pause(ctx, interval); err != nil {
			return err
		}
	}
}

// pause waits for d, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
