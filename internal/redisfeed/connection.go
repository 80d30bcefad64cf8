package redisfeed

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A connection leads to a node and has the channels that it should be subscribed to.
type connection struct {
	f       *Feed
	node    redislink.Node
	sharded bool
	timeout time.Duration // for each thing that it sends

	// Each holds a token when its event has happened.
	changed   chan struct{} // want has changed
	confirmed chan struct{} // the probe is in place

	// With f.mu held:
	want        map[string]*channel
	have        map[string]*channel // the channels that the server was asked for
	differing   map[string]struct{} // names that may differ between these two
	unconfirmed map[string]int      // requested subscriptions, by channel
	probe       probe
	asking      bool // an ask is under way
	ended       bool
}

// A probe is a channel of this connection alone. The feed publishes a message there on the
// path that writes take. If no client receives it, the connection leads to another server:
// to a master that was replaced while it hung or was cut off. Such a server still answers,
// but gets no more hints.
type probe struct {
	name    string
	inPlace bool
}

// newConnection returns a connection for c, and perhaps for others later.
func newConnection(f *Feed, node redislink.Node, c *channel) *connection {
	return &connection{
		f: f, node: node,
		sharded:     !node.Sole() && !f.unsharded[node],
		timeout:     stepTimeout(c.failures),
		changed:     make(chan struct{}, 1),
		confirmed:   make(chan struct{}, 1),
		want:        make(map[string]*channel),
		have:        make(map[string]*channel),
		differing:   make(map[string]struct{}),
		unconfirmed: make(map[string]int),
	}
}

// signal leaves a token in a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add is called with f.mu held.
func (l *connection) add(c *channel) {
	c.connection = l
	l.want[c.name] = c
	l.differing[c.name] = struct{}{}
	signal(l.changed)
}

// drop is called with f.mu held.
func (l *connection) drop(c *channel) {
	delete(l.want, c.name)
	l.differing[c.name] = struct{}{}
	signal(l.changed)
}

// The feed pings a connection at this interval, and gives it up after maxSilence intervals
// without an answer.
const (
	heartbeatInterval = time.Second
	maxSilence        = 3
)

// run keeps the connection subscribed to the wanted channels, until there are no more of
// them or the connection fails.
func (l *connection) run() {
	ctx, cancel := context.WithCancel(l.f.ctx)
	pubsub := l.node.Subscribe(ctx, l.sharded)
	err := l.serve(ctx, pubsub)
	cancel()
	// In the background, because Close waits for a dial that may be under way.
	go func() { _ = pubsub.Close() }()
	l.end(err)
}

func (l *connection) serve(ctx context.Context, pubsub *redislink.Subscription) error {
	failed := make(chan error, 1)
	activity, stale := make(chan struct{}, 1), make(chan error, 1)
	heartbeat := time.NewTicker(heartbeatInterval)
	defer heartbeat.Stop()
	reading, silent := false, 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.changed:
			add, remove, idle := l.difference()
			if idle {
				return nil
			}
			if err := l.tell(ctx, pubsub, add, remove); err != nil {
				return err
			}
			if !reading {
				reading = true
				go func() { failed <- l.read(ctx, pubsub, activity) }()
			}
		case err := <-failed:
			return err
		case <-activity:
			silent = 0
		case err := <-stale:
			return err
		case <-l.confirmed:
			l.ask(ctx, stale)
		case <-heartbeat.C:
			if silent++; silent > maxSilence {
				return errors.New("the connection is silent")
			}
			if err := l.send(ctx, func(ctx context.Context) error { return pubsub.Ping(ctx) }); err != nil {
				return err
			}
			l.ask(ctx, stale)
		}
	}
}

// difference brings have in line with want and returns the steps. If no channel is wanted
// it detaches, so that no channel is assigned to the connection later.
func (l *connection) difference() (add, remove []string, idle bool) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if len(l.want) == 0 {
		l.detach()
		return nil, nil, true
	}
	for name := range l.differing {
		switch c := l.want[name]; {
		case c == nil && l.have[name] != nil:
			delete(l.have, name)
			remove = append(remove, name)
		case c != l.have[name]: // also a channel that was dropped and is wanted again
			l.have[name] = c
			l.unconfirmed[name]++
			add = append(add, name)
		}
	}
	clear(l.differing)
	if l.probe.name == "" {
		for name := range l.want { // any: the probe must be in a slot of this node
			l.probe.name = name + ":" + strconv.FormatUint(rand.Uint64(), 36)
			break
		}
		add = append(add, l.probe.name)
	}
	return add, remove, false
}

// detach is called with f.mu held.
func (l *connection) detach() {
	l.ended = true
	if l.f.connections[l.node] == l {
		delete(l.f.connections, l.node)
	}
}

func (l *connection) tell(ctx context.Context, pubsub *redislink.Subscription, add, remove []string) error {
	steps := []struct {
		names []string
		do    func(ctx context.Context, channels ...string) error
	}{{remove, pubsub.Remove}, {add, pubsub.Add}}
	for _, step := range steps {
		most := max(len(step.names), 1)
		if l.sharded {
			most = 1 // the channels of one command would have to be in one slot
		}
		for names := range slices.Chunk(step.names, most) {
			if err := l.send(ctx, func(ctx context.Context) error { return step.do(ctx, names...) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// send calls f on another goroutine: a PubSub with a broken connection dials again, and
// blocks all its methods meanwhile.
func (l *connection) send(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	_, err := redislink.Detach(ctx, func() (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// read handles the messages of the server until the connection fails.
func (l *connection) read(ctx context.Context, pubsub *redislink.Subscription, activity chan<- struct{}) error {
	for {
		m, err := pubsub.Receive(ctx)
		if err != nil {
			return err
		}
		signal(activity)
		switch m.Kind {
		case "message":
			l.message(m.Channel, m.Payload)
		case "subscribe", "ssubscribe":
			l.confirm(m.Channel)
		case "sunsubscribe":
			l.moved(m.Channel)
		}
	}
}

// confirm handles the server's confirmation of a subscription. From here on all messages
// arrive.
func (l *connection) confirm(channel string) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if channel == l.probe.name {
		l.probe.inPlace = true
		signal(l.confirmed)
		return
	}
	if l.unconfirmed[channel]--; l.unconfirmed[channel] > 0 {
		return // of an earlier subscription, which may have been given up since
	}
	delete(l.unconfirmed, channel)
	if c := l.want[channel]; c != nil && !l.ended {
		c.inPlace, c.failures, c.rejected = true, 0, time.Time{}
		l.f.to.Resync(c.name)
	}
}

// moved handles the end of a sharded subscription. Unless the feed ended it, the slot has
// moved to another node, and the channel follows.
func (l *connection) moved(channel string) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if channel == l.probe.name {
		l.probe = probe{}
		signal(l.changed)
		return
	}
	c := l.want[channel]
	if c == nil || !c.inPlace {
		return
	}
	delete(l.want, channel)
	delete(l.have, channel)
	signal(l.changed)
	l.f.again(c, nil)
}

// message passes on a published message.
func (l *connection) message(name, payload string) {
	l.f.mu.Lock()
	c := l.want[name]
	l.f.mu.Unlock()
	if c != nil {
		l.f.to.Message(name, payload)
	}
}

// errStale is the reason to give up a connection that works.
var errStale = errors.New("the connection leads to a server that does not take the writes")

// ask checks that the connection leads to the server that takes the writes, and that the
// user may publish: hints come from the writes, which would not report that publishing
// fails. stale gets an error if the connection is of no use.
func (l *connection) ask(ctx context.Context, stale chan<- error) {
	l.f.link.AttendToRole()
	// Unsharded, every node of a Cluster gets every message, and counts only its own
	// clients.
	counts := l.sharded || l.node.Sole()
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	own := l.probe
	if !own.inPlace || l.asking {
		return
	}
	l.asking = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, l.timeout)
		defer cancel()
		n, err := l.f.link.Publish(ctx, own.name, l.sharded)
		l.f.mu.Lock()
		defer l.f.mu.Unlock()
		l.asking = false
		switch {
		case redislink.Refused(err):
		case err != nil || !counts:
			return
		case n > 0:
			l.f.counts = true
			return
		case !l.f.counts || l.probe != own:
			return
		default:
			err = errStale
		}
		select {
		case stale <- err:
		default:
		}
	}()
}

// end routes the channels that are still wanted to other connections, or fails them if no
// other connection could do better.
func (l *connection) end(err error) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.detach()
	if len(l.want) == 0 {
		return
	}
	// The server is older than 7.0. After a restart it may be a newer one.
	unknown := redislink.Said(err, "ERR unknown command")
	delete(l.f.unsharded, l.node)
	if l.sharded && unknown {
		l.f.unsharded[l.node] = true
	}
	hopeless := redislink.Said(err, "NOPERM") || !l.sharded && unknown || l.node.Sole() && redislink.ClientClosed(err)
	for _, c := range l.want {
		if hopeless {
			l.f.fail(c, err)
			continue
		}
		l.f.again(c, err)
	}
}
