package faultproxy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Fault is an event that can befall a command.
type Fault int

const (
	// None passes the command and its reply on.
	None Fault = iota
	// DropReply lets the server execute the command and cuts the client's connection
	// instead of passing the reply on.
	DropReply
	// CutBefore cuts the client's connection and discards the command.
	CutBefore
	// Delay cuts the client's connection and holds the command back, to deliver it long
	// after the client has sent it again; see Faults.Hold.
	Delay
	// BlackHole swallows the command and everything after it on the connection, which stays
	// open until the next [Proxy.Set] cuts it.
	BlackHole
)

// Faults configures a [Proxy]. The rates are shares of the commands, from 0 to 1, and
// exclude each other: their sum is at most 1. In a pipeline the commands before a faulty
// one are answered as usual. Those behind it do not reach the server, with one exception:
// behind a dropped reply they may have been executed, and are not answered either.
//
// A subscriber's connection carries messages that answer no command. Each of them counts as
// the command that subscribed: DropReply and CutBefore lose it and cut the connection, and
// BlackHole swallows it and all later ones.
//
// The generator makes one decision for each matching command, in order of arrival. So a
// client that repeats its commands meets the same faults. The order of arrival of several
// clients is not the proxy's, and it changes their faults.
type Faults struct {
	Seed uint64 // of the generator, which restarts with each Set

	DropReply float64
	CutBefore float64
	Delay     float64
	BlackHole float64

	// Split is the share of requests and replies that arrive in small pieces. It combines
	// with the other faults.
	Split float64

	// Plan gives the faults of the first matching commands, one by one. The rates begin
	// after it.
	Plan []Fault

	// Match reports whether faults apply to a command; nil means to all, including those by
	// which a client opens a connection. Match and Operation must not call the proxy.
	Match func(args []string) bool

	// Hold is the longest time to hold a delayed command back; the proxy delivers it at a
	// random moment within that time. If Operation shows that a later copy of the command
	// is on its way, the proxy waits, at most until Hold ends, for that copy's answer.
	// Zero holds the command until [Proxy.Release].
	Hold time.Duration
	// Operation returns a text that all copies of one command share and other commands
	// lack, or an empty string. Nil: copies are unknown.
	Operation func(args []string) string
}

// Commands returns a Match for commands of these names.
func Commands(names ...string) func(args []string) bool {
	return func(args []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, args[0]) })
	}
}

// Counts has the number of each event.
type Counts struct {
	Commands     int // to which faults could have applied
	RepliesLost  int // executed commands whose reply was dropped
	CutBefore    int
	Delayed      int
	LateArrivals int // delayed commands that the server has answered since
	Swallowed    int // connections
	Split        int // requests and replies
}

// Set changes the faults. It restarts the generator, and cuts the connections that
// BlackHole has swallowed. Commands that are held back stay held.
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

// Counts returns the counts since the proxy was made.
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

// swallow marks a session as swallowed by BlackHole.
func (p *Proxy) swallow(s *session, d decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Swallowed++
	s.swallowed.Store(true)
	if d.era != p.era { // the Set that would cut it has already run
		s.client.Close()
	}
}

// A decision is the fate of one command.
type decision struct {
	fault     Fault
	split     bool
	hold      time.Duration // with Delay, the longest; 0: without end
	operation string
	era       int        // of the faults that decided
	random    *rand.Rand // for random details; nil without faults
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
	// Each command takes one number of the generator, so that one decision does not shift
	// the next.
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
