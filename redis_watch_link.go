package taskstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A watchLink is one connection and the channels that it should be subscribed to.
type watchLink struct {
	w       *redisWatch
	node    *redis.Client
	sharded bool
	timeout time.Duration // for each thing that it sends

	// Each holds a token when there is something to do.
	changed   chan struct{} // want has changed
	confirmed chan struct{} // the own channel is in place

	// With w.mu held:
	want        map[string]*watchedChannel
	have        map[string]*watchedChannel // what the server was asked for
	differing   map[string]struct{}        // names in which these two may differ
	unconfirmed map[string]int             // subscriptions that were asked for, by channel
	own         ownChannel
	asking      bool // what ask asks
	ended       bool
}

// An ownChannel is a channel that nobody else has. Who publishes there by the way
// that writes take, and is told that nobody received it, knows that the link leads
// elsewhere: to a master that was replaced while it stood still, or while others
// could not reach it. Such a server answers, and has no more hints.
type ownChannel struct {
	name    string
	inPlace bool
}

// newWatchLink returns the link for c, and perhaps others later.
func newWatchLink(w *redisWatch, node *redis.Client, c *watchedChannel) *watchLink {
	return &watchLink{
		w: w, node: node,
		sharded:     node != nil && !w.unsharded[node],
		timeout:     stepTimeout(c.failures),
		changed:     make(chan struct{}, 1),
		confirmed:   make(chan struct{}, 1),
		want:        make(map[string]*watchedChannel),
		have:        make(map[string]*watchedChannel),
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

// add is called with w.mu held.
func (l *watchLink) add(c *watchedChannel) {
	c.link = l
	l.want[c.name] = c
	l.differing[c.name] = struct{}{}
	signal(l.changed)
}

// drop is called with w.mu held.
func (l *watchLink) drop(c *watchedChannel) {
	delete(l.want, c.name)
	l.differing[c.name] = struct{}{}
	signal(l.changed)
}

// A link is asked for a sign of life at this interval; one that was silent for
// three of them is given up.
const (
	watchHeartbeat = time.Second
	watchSilence   = 3
)

// run keeps the connection subscribed to what is wanted, until nothing is or the
// connection fails.
func (l *watchLink) run() {
	subscribe := l.w.b.link.Client().Subscribe
	if l.node != nil {
		subscribe = l.node.Subscribe
	}
	ctx, cancel := context.WithCancel(l.w.ctx)
	pubsub := subscribe(ctx)
	err := l.serve(ctx, pubsub)
	cancel()
	// Close waits for a dial that may be under way; nobody should wait for that.
	go func() { _ = pubsub.Close() }()
	l.end(err)
}

func (l *watchLink) serve(ctx context.Context, pubsub *redis.PubSub) error {
	failed := make(chan error, 1)
	heard, misled := make(chan struct{}, 1), make(chan error, 1)
	heartbeat := time.NewTicker(watchHeartbeat)
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
				go func() { failed <- l.read(ctx, pubsub, heard) }()
			}
		case err := <-failed:
			return err
		case <-heard:
			silent = 0
		case err := <-misled:
			return err
		case <-l.confirmed:
			l.ask(ctx, misled)
		case <-heartbeat.C:
			if silent++; silent > watchSilence {
				return errors.New("the connection is silent")
			}
			if err := l.send(ctx, func(ctx context.Context) error { return pubsub.Ping(ctx) }); err != nil {
				return err
			}
			l.ask(ctx, misled)
		}
	}
}

// difference brings have in line with what is wanted and returns the steps. When
// nothing is wanted the link takes leave: nothing can be assigned to it later.
func (l *watchLink) difference() (add, remove []string, idle bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if len(l.want) == 0 {
		l.takeLeave()
		return nil, nil, true
	}
	for name := range l.differing {
		switch c := l.want[name]; {
		case c == nil && l.have[name] != nil:
			delete(l.have, name)
			remove = append(remove, name)
		case c != l.have[name]: // also one that was dropped and is wanted anew
			l.have[name] = c
			l.unconfirmed[name]++
			add = append(add, name)
		}
	}
	clear(l.differing)
	if l.own.name == "" {
		for name := range l.want { // any: it is to lie in a slot of this node
			l.own.name = name + ":" + strconv.FormatUint(rand.Uint64(), 36)
			break
		}
		add = append(add, l.own.name)
	}
	return add, remove, false
}

// takeLeave is called with w.mu held.
func (l *watchLink) takeLeave() {
	l.ended = true
	if l.w.links[l.node] == l {
		delete(l.w.links, l.node)
	}
}

func (l *watchLink) tell(ctx context.Context, pubsub *redis.PubSub, add, remove []string) error {
	steps := []struct {
		names []string
		do    func(ctx context.Context, channels ...string) error
	}{{remove, pubsub.Unsubscribe}, {add, pubsub.Subscribe}}
	if l.sharded {
		steps[0].do, steps[1].do = pubsub.SUnsubscribe, pubsub.SSubscribe
	}
	for _, step := range steps {
		most := max(len(step.names), 1)
		if l.sharded {
			most = 1 // channels of one command would have to be in one slot
		}
		for names := range slices.Chunk(step.names, most) {
			if err := l.send(ctx, func(ctx context.Context) error { return step.do(ctx, names...) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// send calls f aside: a PubSub whose connection broke dials anew, and holds up
// all its methods meanwhile.
func (l *watchLink) send(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	_, err := redislink.Detach(ctx, func() (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// read passes on what the server sends until the connection fails.
func (l *watchLink) read(ctx context.Context, pubsub *redis.PubSub, heard chan<- struct{}) error {
	for {
		message, err := pubsub.Receive(ctx)
		if err != nil {
			return err
		}
		signal(heard)
		switch m := message.(type) {
		case *redis.Message:
			l.hint(m.Channel, m.Payload)
		case *redis.Subscription:
			switch m.Kind {
			case "subscribe", "ssubscribe":
				l.confirm(m.Channel)
			case "sunsubscribe":
				l.moved(m.Channel)
			}
		}
	}
}

// confirm notes that the server has subscribed the link to the channel. From here
// on nothing is missed, so its watchers are told to look at what there is.
func (l *watchLink) confirm(channel string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if channel == l.own.name {
		l.own.inPlace = true
		signal(l.confirmed)
		return
	}
	if l.unconfirmed[channel]--; l.unconfirmed[channel] > 0 {
		return // of an earlier subscription, which may since have been given up
	}
	delete(l.unconfirmed, channel)
	if c := l.want[channel]; c != nil && !l.ended {
		c.inPlace, c.failures, c.rejected = true, 0, time.Time{}
		l.w.hub.resync(c.owner)
	}
}

// moved is told that a sharded subscription ended. Unless we ended it, its slot
// has moved to another node, and so does the channel.
func (l *watchLink) moved(channel string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if channel == l.own.name {
		l.own = ownChannel{}
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
	l.w.again(c, nil)
}

// hint passes on what a write published. What cannot be read was not published
// by this library; it may still mean that something changed.
func (l *watchLink) hint(channel, payload string) {
	l.w.mu.Lock()
	c := l.want[channel]
	l.w.mu.Unlock()
	if c == nil {
		return
	}
	number, task, ok := strings.Cut(payload, " ")
	version, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil || task == "" {
		l.w.hub.resync(c.owner)
		return
	}
	l.w.hub.hint(Key{Owner: c.owner, Task: task}, Version(version))
}

// errMisled is why a link that works is given up.
var errMisled = errors.New("the connection leads to a server that does not take the writes")

// ask asks whether the link leads to the server that takes the writes, and whether
// the user may publish: hints come from the writes, which would not say that nothing
// is published. misled gets an error where the link is of no use, otherwise nothing.
func (l *watchLink) ask(ctx context.Context, misled chan<- error) {
	l.w.b.link.AttendToRole()
	publish := l.w.b.link.Client().Publish
	counts := true
	switch {
	case l.sharded:
		publish = l.w.b.link.Client().SPublish
	case l.node != nil:
		counts = false // every node has every message, and counts its own clients only
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	own := l.own
	if !own.inPlace || l.asking {
		return
	}
	l.asking = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, l.timeout)
		defer cancel()
		n, err := redislink.Detach(ctx, func() (int64, error) { return publish(ctx, own.name, "").Result() })
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		l.asking = false
		switch {
		case redislink.Refused(err):
		case err != nil || !counts:
			return
		case n > 0:
			l.w.counts = true
			return
		case !l.w.counts || l.own != own:
			return
		default:
			err = errMisled
		}
		select {
		case misled <- err:
		default:
		}
	}()
}

// end gives the channels that are still wanted to other links, or ends their
// watches where no other link could do better.
func (l *watchLink) end(err error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.takeLeave()
	if len(l.want) == 0 {
		return
	}
	// A server before 7.0. It may be a newer one when it is back after a restart.
	unknown := redislink.Said(err, "ERR unknown command")
	delete(l.w.unsharded, l.node)
	if l.sharded && unknown {
		l.w.unsharded[l.node] = true
	}
	hopeless := redislink.Said(err, "NOPERM") || !l.sharded && unknown || l.node == nil && errors.Is(err, redis.ErrClosed)
	for _, c := range l.want {
		if hopeless {
			l.w.giveUp(c, err)
			continue
		}
		l.w.again(c, err)
	}
}
