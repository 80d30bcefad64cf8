package faultproxy

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const incr = "*1\r\n$4\r\nINCR\r\n"

func TestWithoutFaultsEverythingPasses(t *testing.T) {
	p, _, dial := start(t)
	big := strings.Repeat("\x00\r\n$", 1<<18)
	everything := func(c conn) {
		c.send(incr + "\r\n*0\r\nECHO inline\r\n*2\r\n$4\r\nECHO\r\n$1048576\r\n" + big + "\r\nECHO x\r\n")
		c.receives(":1\r\n")
		c.receives("$6\r\ninline\r\n")
		c.receives("$1048576\r\n" + big + "\r\n")
		c.receives("$1\r\nx\r\n")
	}
	everything(dial())
	assert.Equal(t, Counts{Commands: 4}, p.Counts())

	p, server, _ := start(t)
	addr, err := p.Addr(server.Addr().String())
	require.NoError(t, err)
	again, err := p.Addr(server.Addr().String())
	require.NoError(t, err)
	assert.Equal(t, addr, again, "one listener for each server")
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	everything(conn{t, c, bufio.NewReader(c)})
}

func TestDropReplyLosesTheReplyToAnExecutedCommand(t *testing.T) {
	p, server, dial := start(t)
	p.Set(Faults{Plan: []Fault{None, DropReply}})
	c := dial()
	c.send(incr + incr)
	c.receives(":1\r\n")
	c.isCut()
	assert.Equal(t, 2, server.count())
	assert.Equal(t, 1, p.Counts().RepliesLost)
}

func TestCutBeforeKeepsTheCommandFromTheServer(t *testing.T) {
	p, server, dial := start(t)
	p.Set(Faults{Plan: []Fault{None, CutBefore}})
	c := dial()
	c.send(incr + incr)
	c.receives(":1\r\n")
	c.isCut()
	c = dial()
	c.send(incr)
	c.receives(":2\r\n")
	assert.Equal(t, 2, server.count())
	assert.Equal(t, 1, p.Counts().CutBefore)
}

func TestDelayDeliversTheCommandAfterItsResend(t *testing.T) {
	p, server, dial := start(t)
	p.Set(Faults{Plan: []Fault{None, Delay}})
	c := dial()
	c.send(incr + incr)
	c.receives(":1\r\n")
	c.isCut()
	p.Cut() // does not reach the delayed command
	c = dial()
	c.send(incr)
	c.receives(":2\r\n")
	assert.Equal(t, Counts{Commands: 3, Delayed: 1}, p.Counts())
	p.Release()
	assert.Equal(t, 3, server.count())
	assert.Equal(t, 1, p.Counts().LateArrivals)
}

func TestDelayEndsByItself(t *testing.T) {
	p, server, dial := start(t)
	p.Set(Faults{Plan: []Fault{Delay}, Hold: time.Millisecond})
	c := dial()
	c.send(incr)
	c.isCut()
	eventually(t, func() bool { return server.count() == 1 && p.Counts().LateArrivals == 1 })
}

// The proxy delivers a delayed command at a random moment, but waits for the answer to its
// later copy until the hold ends.
func TestDelayWaitsForTheLaterCopy(t *testing.T) {
	wait := func(t *testing.T, operation string, meanwhile func(p *Proxy)) (waited time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			p := New()
			defer p.Close()
			d := decision{hold: time.Second, operation: operation, random: rand.New(rand.NewPCG(1, 0))}
			h, start := p.hold(d), time.Now()
			go func() {
				assert.True(t, p.wait(h, d))
				waited = time.Since(start)
				p.letGo(h)
			}()
			meanwhile(p)
			<-h.done
		})
		return waited
	}
	alone := wait(t, "", func(*Proxy) {})
	assert.Less(t, alone, time.Second, "a random moment")
	assert.Equal(t, time.Second, wait(t, "x", func(p *Proxy) { p.noteAnswer("y") }), "until the end, if no copy comes")
	assert.Equal(t, alone, wait(t, "x", func(p *Proxy) { p.noteAnswer("x") }), "not before its moment")
	late := alone + (time.Second-alone)/2
	assert.Equal(t, late, wait(t, "x", func(p *Proxy) { time.Sleep(late); p.noteAnswer("x") }), "as soon as the copy is answered")
	assert.Zero(t, wait(t, "x", func(p *Proxy) { p.Release() }), "at once when released")
}

// A copy counts as answered when the client has the answer.
func TestAnswersToLaterCopiesAreNoted(t *testing.T) {
	p, _, dial := start(t)
	p.Set(Faults{
		Plan:      []Fault{Delay, DropReply},
		Hold:      time.Hour,
		Operation: func(args []string) string { return args[0] },
	})
	c := dial()
	c.send(incr)
	c.isCut()
	p.mu.Lock()
	var h *held
	for h = range p.held {
	}
	p.mu.Unlock()
	c = dial()
	c.send(incr)
	c.isCut()
	select {
	case <-h.answered:
		t.Error("the answer was lost")
	default:
	}
	c = dial()
	c.send(incr)
	c.receives(":2\r\n")
	select {
	case <-h.answered:
	case <-time.After(patience):
		t.Error("the answer was not noted")
	}
}

func TestBlackHoleSwallowsUntilTheNextSet(t *testing.T) {
	p, server, dial := start(t)
	p.Set(Faults{BlackHole: 1})
	c := dial()
	c.send(incr)
	eventually(t, func() bool { return p.Counts().Swallowed == 1 })
	c.send(incr)
	p.Set(Faults{})
	c.isCut()
	c = dial()
	c.send(incr)
	c.receives(":1\r\n")
	assert.Equal(t, 1, server.count())
}

func TestSplitKeepsTheBytes(t *testing.T) {
	p, _, dial := start(t)
	p.Set(Faults{Split: 1, Seed: 7})
	c := dial()
	text := strings.Repeat("0123456789", 10_000)
	c.send("*2\r\n$4\r\nECHO\r\n$100000\r\n" + text + "\r\n")
	c.receives("$100000\r\n" + text + "\r\n")
	assert.Equal(t, 2, p.Counts().Split, "request and reply")

	var w pieces
	writeSplit(&w, []byte(text), rand.New(rand.NewPCG(1, 0)))
	assert.Greater(t, len(w), 2)
	assert.Equal(t, text, string(bytes.Join(w, nil)))
}

type pieces [][]byte

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, bytes.Clone(b))
	return len(b), nil
}

// Messages to a subscriber answer no command.
func TestMessagesAreLostToo(t *testing.T) {
	for fault, seen := range map[Fault]func(Counts) int{
		DropReply: func(c Counts) int { return c.RepliesLost },
		BlackHole: func(c Counts) int { return c.Swallowed },
	} {
		p, _, dial := start(t)
		subscriber, publisher := dial(), dial()
		subscriber.send("SUBSCRIBE x\r\n")
		subscriber.receives("+subscribed\r\n")
		publish := func() {
			publisher.send("PUBLISH x\r\n")
			publisher.receives(":1\r\n")
		}
		publish()
		subscriber.receives(">2\r\n+message\r\n+x\r\n")
		p.Set(Faults{Plan: []Fault{fault}, Match: Commands("subscribe")})
		publish()
		eventually(t, func() bool { return seen(p.Counts()) == 1 })
		p.Set(Faults{})
		subscriber.isCut()
	}
}

func TestCutEndsAllConnections(t *testing.T) {
	p, _, dial := start(t)
	a, b := dial(), dial()
	a.send(incr)
	a.receives(":1\r\n")
	p.Cut()
	a.isCut()
	b.isCut()
}

// A client cannot tell a server that is down from one without a proxy.
func TestDialFailsAsWithoutTheProxy(t *testing.T) {
	p, server, _ := start(t)
	server.Close()
	_, err := p.Dial(context.Background(), "tcp", server.Addr().String())
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "dial", op.Op)
}

func TestFaultsMeetMatchingCommands(t *testing.T) {
	p, _, dial := start(t)
	p.Set(Faults{DropReply: 1, Match: Commands("incr")})
	c := dial()
	c.send("ECHO x\r\n")
	c.receives("$1\r\nx\r\n")
	c.send(incr)
	c.isCut()
	assert.Equal(t, Counts{Commands: 1, RepliesLost: 1}, p.Counts())
}

func TestOneSeedDecidesTheSame(t *testing.T) {
	const commands = 20_000
	run := func(seed uint64) (faults [commands]Fault) {
		p := New()
		defer p.Close()
		p.Set(Faults{Seed: seed, DropReply: 0.05, CutBefore: 0.1, Delay: 0.15, BlackHole: 0.2, Split: 0.5})
		for i := range faults {
			faults[i] = p.decide([]string{"x"}).fault
		}
		return faults
	}
	one := run(1)
	assert.Equal(t, one, run(1))
	assert.NotEqual(t, one, run(2))
	var shares [5]float64
	for _, f := range one {
		shares[f] += 1. / commands
	}
	assert.InDeltaSlice(t, []float64{0.5, 0.05, 0.1, 0.15, 0.2}, shares[:], 0.02)
}

func TestCloseFreesAllItHolds(t *testing.T) {
	p, server, dial := start(t)
	addr, err := p.Addr(server.Addr().String())
	require.NoError(t, err)
	dial() // idle
	subscriber := dial()
	subscriber.send("SUBSCRIBE x\r\n")
	subscriber.receives("+subscribed\r\n")
	p.Set(Faults{Plan: []Fault{Delay, BlackHole}})
	held := dial()
	held.send(incr)
	held.isCut()
	dial().send(incr)
	eventually(t, func() bool { return p.Counts().Swallowed == 1 })
	stuck := dial() // a client that does not read
	stuck.send("*2\r\n$4\r\nECHO\r\n$33554432\r\n" + strings.Repeat("x", 32<<20) + "\r\n")

	p.Close()
	p.Close() // no harm
	assert.Zero(t, server.count())
	_, err = net.Dial("tcp", addr)
	assert.Error(t, err)
	_, err = p.Dial(context.Background(), "tcp", server.Addr().String())
	assert.ErrorIs(t, err, errClosed)
	_, err = p.Addr("another:1")
	assert.ErrorIs(t, err, errClosed)
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	assert.NotContains(t, string(stacks), "faultproxy.(*Proxy)")
	assert.NotContains(t, string(stacks), "faultproxy.(*session)")
}
