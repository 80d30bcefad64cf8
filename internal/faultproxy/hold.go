package faultproxy

import (
	"sync"
	"time"
)

// A held is a command that is held back. The first of these delivers it: its moment within
// Faults.Hold, but not before a later copy of it is answered; the end of Hold; Release.
type held struct {
	operation string
	answered  chan struct{} // closed when a later copy is answered
	released  chan struct{} // closed by Release
	once      struct{ answered, released sync.Once }
	done      chan struct{} // closed when the command was delivered, or cannot be
}

// Release delivers all commands that are held back and returns when the servers
// have answered them, or are gone.
func (p *Proxy) Release() {
	p.mu.Lock()
	var all []*held
	for h := range p.held {
		all = append(all, h)
	}
	p.mu.Unlock()
	for _, h := range all {
		h.once.released.Do(func() { close(h.released) })
	}
	for _, h := range all {
		<-h.done
	}
}

// noteAnswer records that the client has the reply to a copy of the operation.
func (p *Proxy) noteAnswer(operation string) {
	if operation == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for h := range p.held {
		if h.operation == operation {
			h.once.answered.Do(func() { close(h.answered) })
		}
	}
}

// hold begins to hold a command back. The caller closes the result's done.
func (p *Proxy) hold(d decision) *held {
	h := &held{
		operation: d.operation,
		answered:  make(chan struct{}),
		released:  make(chan struct{}),
		done:      make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[h] = struct{}{}
	p.counts.Delayed++
	return h
}

// letGo ends the hold.
func (p *Proxy) letGo(h *held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, h)
	close(h.done)
}

// wait returns when it is time to deliver the command, or false if the proxy is closed
// first.
func (p *Proxy) wait(h *held, d decision) bool {
	var moment, end <-chan time.Time // nil: without end
	if d.hold > 0 {
		moment = time.After(time.Duration(d.random.Int64N(int64(d.hold))))
		end = time.After(d.hold)
	}
	var answered <-chan struct{} // nil until the moment has come
	for {
		select {
		case <-moment:
			if h.operation == "" {
				return true
			}
			answered = h.answered
		case <-answered:
			return true
		case <-end:
			return true
		case <-h.released:
			return true
		case <-p.ctx.Done():
			return false
		}
	}
}
