package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/taskstore/taskstore/bench/peers"
)

// contendSections has many writers change one task, each by reading it and writing
// it back if nobody was faster, and again if somebody was.
func (b *bench) contendSections(ctx context.Context) error {
	s := b.report.section("Many writers on one task")
	s.text("%d writers read one task of 1 KiB and write it back by compare-and-swap. Successes per second, and how many writes a success takes.\n", b.Contenders)
	remote, err := b.remote(ctx)
	if err != nil {
		return err
	}
	local, _, end, err := b.local(ctx)
	if err != nil {
		return err
	}
	for _, g := range []struct {
		name  string
		peers []peers.Peer
	}{{"on servers", remote}, {"in memory", local}} {
		c := Contest{Name: g.name, Rounds: b.Turns}
		for _, p := range g.peers {
			if p.Swaps {
				c.Contestants = append(c.Contestants, b.contender(p))
			}
		}
		r, err := b.contest(ctx, c)
		if err != nil {
			return errors.Join(err, end())
		}
		t := table{header: []string{g.name, "successes/s", "writes a success"}}
		for _, name := range r.Names {
			t.row(name, cell(r, name, r.Names[0]), figure(r.stat(name, extra).Median))
		}
		s.table(t)
		if g.name == "on servers" {
			b.noteAhead("update", fmt.Sprintf("%d on one task", b.Contenders), r, r.ratio)
		}
	}
	return errors.Join(end(), b.flush(ctx))
}

func (b *bench) contender(p peers.Peer) Contestant {
	data := payload(1 << 10)
	made := false
	return Contestant{Name: p.Name, Sample: func(ctx context.Context) (Sample, error) {
		if !made {
			if _, err := p.Create(ctx, "contended", "task", data); err != nil {
				return Sample{}, err
			}
			made = true
		}
		var wins, tries atomic.Int64
		s, err := load{callers: b.Contenders, last: b.Slice, every: 1}.run(ctx, func(ctx context.Context, _, _ int) error {
			for {
				prev, err := p.Get(ctx, "contended", "task")
				if err != nil {
					return err
				}
				tries.Add(1)
				_, err = p.Update(ctx, "contended", "task", data, prev)
				if err == nil {
					wins.Add(1)
					return nil
				}
				if !errors.Is(err, peers.ErrConflict) {
					return err
				}
			}
		})
		if wins.Load() == 0 && err == nil {
			err = fmt.Errorf("nobody won")
		}
		s.Extra = float64(tries.Load()) / float64(max(wins.Load(), 1))
		return s, err
	}}
}
