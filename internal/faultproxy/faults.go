package faultproxy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Fault is what can happen to a command.
type Fault int

const (
	// None passes the command and its reply on.
	None Fault = iota
	// DropReply has the server execute the command and then, instead of passing
	// the reply on, cuts the client's connection.
	DropReply
	// CutBefore cuts the client's connection and never forwards the command.
	CutBefore
	// Delay cuts the client's connection and holds the command back, to deliver it
	// later, when the client has long sent it again: see Faults.Hold.
	Delay
	// BlackHole swallows the command and everything after it on the connection,
	// which stays open. The next [Proxy.Set] cuts it.
	BlackHole
)

// Faults says what a [Proxy] does. The rates are shares of the commands, from 0
// to 1, and exclude each other: their sum is at most 1. In a pipeline the commands
// before are answered as ever. Those behind never reach the server, except behind a
// reply that is dropped: they may have been executed, and are not answered either.
//
// A subscriber's connection carries messages that answer no command. Each of them
// counts as the command that subscribed: DropReply and CutBefore lose it and cut
// the connection, BlackHole swallows it and all later ones.
//
// The generator gives one decision to each matching command in the order in which
// they arrive. So a client that does the same again meets the same faults; with
// several at once their order, which is not the proxy's, makes a difference.
type Faults struct {
	Seed uint64 // of the generator, which starts anew with each Set

	DropReply float64
	CutBefore float64
	Delay     float64
	BlackHole float64

	// Split is the share of requests and replies that arrive in small pieces. It
	// goes together with the others.
	Split float64

	// Plan is what happens to the first matching commands, one by one. The rates
	// begin after it.
	Plan []Fault

	// Match tells the commands that faults apply to; nil means all of them, also
	// those by which a client opens a connection. Like Operation it must not call
	// the proxy.
	Match func(args []string) bool

	// Hold bounds how long a delayed command is held back: it is delivered at a
	// random moment within it. Where Operation tells that a later copy of the same
	// command is on its way, that copy is answered first. Zero holds the command
	// until [Proxy.Release].
	Hold time.Duration
	// Operation returns what all copies of one command have in common and other
	// commands have not, or an empty string. Nil: nobody can tell.
	Operation func(args []string) string
}

// Commands returns a Match for commands of these names.
func Commands(names ...string) func(args []string) bool {
	return func(args []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, args[0]) })
	}
}

// Counts says how often what happened.
type Counts struct {
	Commands     int // that faults could have applied to
	RepliesLost  int // executed commands whose reply was dropped
	CutBefore    int
	Delayed      int
	LateArrivals int // delayed commands that the server has answered since
	Swallowed    int // connections
	Split        int // requests and replies
}

// Set changes the faults. It restarts the generator, and cuts the connections that
// BlackHole has swallowed. Commands that are held back stay so.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	p.generator = rand.New(rand.NewPCG(f.Seed, 0))
	p.planned = 0
	p.era++
	for s := range p.sessions {
		if s.swallowed.Load() {
			s.client.Close()
		}
	}
}

// Counts returns what has happened since the proxy was made.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

func (p *Proxy) count(add func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(&p.counts)
}

// swallow makes a session one that BlackHole has swallowed.
func (p *Proxy) swallow(s *session, d decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Swallowed++
	s.swallowed.Store(true)
	if d.era != p.era { // the Set that would cut it has been
		s.client.Close()
	}
}

// A decision is what happens to one command.
type decision struct {
	fault     Fault
	split     bool
	hold      time.Duration // with Delay, the longest; 0 for no end
	operation string
	era       int        // of the faults that decided
	random    *rand.Rand // for what is left to chance, nil without faults
}

func (p *Proxy) decide(args []string) decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.faults
	var d decision
	if f.Operation != nil {
		d.operation = f.Operation(args)
	}
	if f.Match != nil && !f.Match(args) {
		return d
	}
	p.counts.Commands++
	d.hold, d.era = f.Hold, p.era
	// One number of the generator for each command, whatever becomes of it, so that
	// one decision does not shift the next.
	d.random = rand.New(rand.NewPCG(p.generator.Uint64(), 0))
	choice, split := d.random.Float64(), d.random.Float64()
	d.split = split < f.Split
	if p.planned < len(f.Plan) {
		d.fault = f.Plan[p.planned]
		p.planned++
		return d
	}
	for _, r := range []struct {
		fault Fault
		rate  float64
	}{{DropReply, f.DropReply}, {CutBefore, f.CutBefore}, {Delay, f.Delay}, {BlackHole, f.BlackHole}} {
		if choice < r.rate {
			d.fault = r.fault
			break
		}
		choice -= r.rate
	}
	return d
}
