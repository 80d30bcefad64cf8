package redislink

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A Write is a write that is ready to be sent.
type Write struct {
	First Call // the first copy, and the next ones while no server has executed any; Keys are record, index, expiry index
	Again Call // a copy that follows one whose outcome is unknown
	Alone Call // the same with the record's key only, if the write may be an update; no script: none
	ByAge bool // Again takes, as its last argument, an instant before the first copy, in µs
	Size  int  // of all data

	Longest int // of the data of one record
}

// Write sends w until there is an answer. Its error is an UncertainError unless w was
// surely not applied. If one of w's writes finds no room, Write calls makeRoom for it, once
// for each, and sends w again if makeRoom reports that there is room now.
func (l *Link) Write(ctx context.Context, w *Write, makeRoom func(ctx context.Context, write int) bool) (Reply, error) {
	var (
		p     = retryBudget{l: l}
		begin = l.Clock.Local()
		key   = w.First.Keys[0]
		again Call // w.Again, once it is complete
		next  = &w.First
		lost  error // why the outcome of a copy is unknown
		long  = longWrite{l: l, key: key, size: w.Size, longest: w.Longest, rest: longRest * max(1, len(w.First.Keys)/3)}
		room  = -1 // the latest write that makeRoom was called for
		acked = l.opts.MinReplicas > 0
	)
	for {
		var r Reply
		var err error
		if lost != nil && next == &w.First {
			var since string
			if w.ByAge {
				since, err = l.sentAfter(ctx, begin, w.First.Keys[1]) // its node set the scores that since is compared with
			}
			if err == nil {
				again, next = w.resent(since), &again
			}
		}
		if err == nil {
			r, err = next.settle(l.eval(ctx, next, acked))
			if refusal := long.refusal(ctx, err); refusal != nil {
				return Reply{}, refusal
			}
		}
		if lost == nil && w.Alone.Script != nil && Said(err, "TRYAGAIN") {
			r, err = w.Alone.settle(l.eval(ctx, &w.Alone, acked))
		}
		if err == nil && r.Status == StatusFull && makeRoom != nil && r.Write > room {
			if room = r.Write; makeRoom(ctx, room) {
				continue
			}
		}
		switch {
		case err == nil && lost == nil:
			return r, nil
		case err == nil && r.Status == StatusUnknown:
			return r, &UncertainError{Cause: fmt.Errorf("the answer was lost, and the record as it is now does not show whether the write was applied: %w", lost)}
		case err == nil:
			r.Resent = true
			return r, nil
		case lost == nil && !neverExecuted(err):
			lost = Redact(err)
		}
		if err = p.wait(ctx, err); err == nil {
			continue
		}
		switch {
		case lost != nil && errors.Is(err, lost):
			err = &UncertainError{Cause: err}
		case lost != nil:
			err = &UncertainError{Cause: fmt.Errorf("%w, after: %w", err, lost)}
		}
		return Reply{}, err
	}
}

// resent returns the call to send once the outcome of a copy is unknown. since is an
// instant before the first copy.
func (w *Write) resent(since string) Call {
	c := w.Again
	if w.ByAge {
		c.Args = append(slices.Clip(c.Args), since)
	}
	return c
}

// settle makes one outcome of the reply to c and of ack, which says why too few replicas
// are known to have the write. ack does not count if the write changed no data: a refusal,
// or the delete of an absent record.
func (c *Call) settle(raw any, ack, err error) (Reply, error) {
	if err != nil {
		return Reply{}, err
	}
	r, err := c.Script.Decode(raw)
	if err == nil && r.Status == StatusOK && r.Number > 0 && ack != nil {
		return Reply{}, ack
	}
	return r, err
}
