package taskstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisWatch knows which channel each watched owner needs and on which link,
// which is a connection to one node, it is subscribed. All watchers of a process
// share one link, or one a node in a Cluster. A watched owner always has a
// channel; a channel without a link is being routed to one.
type redisWatch struct {
	b   *RedisBackend
	hub hub

	mu        sync.Mutex
	channels  map[string]*watchedChannel
	links     map[*redis.Client]*watchLink // by node; nil is the only one there is
	unsharded map[*redis.Client]bool       // nodes that know no sharded channels
	closed    bool
}

type watchedChannel struct {
	name, owner string
	link        *watchLink
	inPlace     bool // the server has confirmed the subscription
	failures    int  // links lost since it was last in place
}

func (w *redisWatch) init(b *RedisBackend) {
	w.b = b
	w.channels = make(map[string]*watchedChannel)
	w.links = make(map[*redis.Client]*watchLink)
	w.unsharded = make(map[*redis.Client]bool)
}

// Watch implements [Watcher]. Hints travel by pub/sub, so they cost a connection
// for each process that watches, not for each watch.
func (b *RedisBackend) Watch(ctx context.Context, prefix Key) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		err := b.usable(ctx)
		if err == nil {
			err = checkPrefix(prefix)
		}
		if err == nil && b.opts.NoHints {
			err = fmt.Errorf("taskstore: watch: %w: the backend was made with NoHints", errors.ErrUnsupported)
		}
		if err != nil {
			yield(Change{}, err)
			return
		}
		watcher := b.watch.join(prefix)
		defer b.watch.leave(watcher)
		watcher.run(ctx, yield)
	}
}

func (w *redisWatch) join(prefix Key) *watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	watcher := w.hub.join(prefix)
	name := w.b.keys.owner(prefix.Owner).index
	c := w.channels[name]
	switch {
	case w.closed:
		watcher.fail(ErrClosed)
	case c == nil:
		c = &watchedChannel{name: name, owner: prefix.Owner}
		w.channels[name] = c
		go w.route(c)
	case c.inPlace:
		watcher.lost()
	}
	return watcher
}

func (w *redisWatch) leave(watcher *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.hub.leave(watcher); !last {
		return
	}
	name := w.b.keys.owner(watcher.prefix.Owner).index
	c := w.channels[name]
	if c == nil {
		return
	}
	delete(w.channels, name)
	if c.link != nil {
		c.link.drop(c)
	}
}

func (w *redisWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for name, c := range w.channels {
		w.hub.fail(c.owner, ErrClosed)
		delete(w.channels, name)
		if c.link != nil {
			c.link.drop(c)
		}
	}
}

// What to wait before a channel is routed again, and for the node to be found.
const (
	minRouteDelay = 20 * time.Millisecond
	maxRouteDelay = time.Second
	routeTimeout  = 5 * time.Second
)

// route finds the node that has the channel and hands the channel to the link
// that leads there. It goes on until it succeeds or nobody watches any more.
func (w *redisWatch) route(c *watchedChannel) {
	for {
		if n := c.failures; n > 0 {
			delay := min(minRouteDelay<<min(n-1, 10), maxRouteDelay)
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-w.b.closed:
				return
			}
		}
		node, err := w.node(c.name)
		w.mu.Lock()
		if w.channels[c.name] != c { // nobody watches any more
			w.mu.Unlock()
			return
		}
		if err == nil {
			w.assign(c, node)
			w.mu.Unlock()
			return
		}
		if errors.Is(err, redis.ErrClosed) { // the client itself, which no wait will open
			w.giveUp(c, err)
			w.mu.Unlock()
			return
		}
		c.failures++
		w.mu.Unlock()
	}
}

// node returns the client of the node that has the channel, nil outside a
// Cluster.
func (w *redisWatch) node(channel string) (*redis.Client, error) {
	cluster, ok := w.b.client.(clusterClient)
	if !ok {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	return cluster.MasterForKey(ctx, channel)
}

// giveUp ends the watches of c. It is called with w.mu held.
func (w *redisWatch) giveUp(c *watchedChannel, err error) {
	delete(w.channels, c.name)
	w.hub.fail(c.owner, fmt.Errorf("taskstore: watch: %w", discreet(err)))
}

// assign is called with w.mu held.
func (w *redisWatch) assign(c *watchedChannel, node *redis.Client) {
	l := w.links[node]
	if l == nil {
		l = &watchLink{
			w: w, node: node, want: make(map[string]*watchedChannel),
			unconfirmed: make(map[string]int), changed: make(chan struct{}, 1),
		}
		l.sharded = node != nil && !w.unsharded[node]
		w.links[node] = l
		go l.run()
	}
	c.link = l
	l.want[c.name] = c
	l.wake()
}

// A watchLink is one connection and the channels that it should be subscribed to.
type watchLink struct {
	w       *redisWatch
	node    *redis.Client
	sharded bool
	changed chan struct{} // holds a token when want changed

	// With w.mu held:
	want        map[string]*watchedChannel
	unconfirmed map[string]int // subscriptions that were asked for, by channel
	ended       bool
}

func (l *watchLink) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// drop is called with w.mu held.
func (l *watchLink) drop(c *watchedChannel) {
	delete(l.want, c.name)
	l.wake()
}

// A link that is silent is asked for a sign of life at this interval; one that
// owes three of them is given up.
const watchHeartbeat = 2 * time.Second

// run keeps the connection subscribed to what is wanted, until nothing is or the
// connection fails.
func (l *watchLink) run() {
	subscribe := l.w.b.client.Subscribe
	if l.node != nil {
		subscribe = l.node.Subscribe
	}
	pubsub := subscribe(context.Background())
	err := l.serve(pubsub)
	// Close waits for a dial that may be under way; nobody should wait for that.
	go func() { _ = pubsub.Close() }()
	l.end(err)
}

func (l *watchLink) serve(pubsub *redis.PubSub) error {
	have := make(map[string]*watchedChannel)
	failed := make(chan error, 1)
	heard := make(chan struct{}, 1)
	heartbeat := time.NewTicker(watchHeartbeat)
	defer heartbeat.Stop()
	reading, silent := false, 0
	for {
		select {
		case <-l.changed:
			add, remove, idle := l.difference(have)
			if idle {
				return nil
			}
			if err := l.tell(pubsub, add, remove); err != nil {
				return err
			}
			if !reading {
				reading = true
				go func() { failed <- l.read(pubsub, heard) }()
			}
		case err := <-failed:
			return err
		case <-heard:
			silent = 0
		case <-heartbeat.C:
			if silent++; silent > 3 {
				return errors.New("the connection is silent")
			}
			if err := l.within(func(ctx context.Context) error { return pubsub.Ping(ctx) }); err != nil {
				return err
			}
		}
	}
}

// difference brings have in line with what is wanted and returns the steps. When
// nothing is wanted the link takes leave: nothing can be assigned to it later.
func (l *watchLink) difference(have map[string]*watchedChannel) (add, remove []string, idle bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if len(l.want) == 0 {
		l.takeLeave()
		return nil, nil, true
	}
	for name, c := range l.want {
		if have[name] != c { // also a channel that was dropped and is wanted anew
			have[name] = c
			l.unconfirmed[name]++
			add = append(add, name)
		}
	}
	for name := range have {
		if l.want[name] == nil {
			delete(have, name)
			remove = append(remove, name)
		}
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

func (l *watchLink) tell(pubsub *redis.PubSub, add, remove []string) error {
	if len(remove) > 0 {
		unsubscribe := pubsub.Unsubscribe
		if l.sharded {
			unsubscribe = pubsub.SUnsubscribe
		}
		if err := l.within(func(ctx context.Context) error { return unsubscribe(ctx, remove...) }); err != nil {
			return err
		}
	}
	if len(add) == 0 {
		return nil
	}
	if !l.sharded {
		return l.within(func(ctx context.Context) error { return pubsub.Subscribe(ctx, add...) })
	}
	// The channels of one SSUBSCRIBE would have to be in one slot.
	for _, name := range add {
		if err := l.within(func(ctx context.Context) error { return pubsub.SSubscribe(ctx, name) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *watchLink) within(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	return f(ctx)
}

// read passes on what the server sends until the connection fails.
func (l *watchLink) read(pubsub *redis.PubSub, heard chan<- struct{}) error {
	for {
		message, err := pubsub.Receive(context.Background())
		if err != nil {
			return err
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		switch m := message.(type) {
		case *redis.Message:
			l.hint(m.Channel, m.Payload)
		case *redis.Subscription:
			switch m.Kind {
			case "subscribe", "ssubscribe":
				l.confirm(m.Channel)
			case "sunsubscribe":
				if l.lost(m.Channel) {
					return errors.New("the channel's slot moved to another node")
				}
			}
		}
	}
}

// lost reports whether the server ended a subscription that we did not end.
func (l *watchLink) lost(channel string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	c := l.want[channel]
	return c != nil && c.inPlace
}

// confirm notes that the server has subscribed the link to the channel. From here
// on nothing is missed, so its watchers are told to look at what there is.
func (l *watchLink) confirm(channel string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.unconfirmed[channel]--; l.unconfirmed[channel] > 0 {
		return // of an earlier subscription, which may since have been given up
	}
	delete(l.unconfirmed, channel)
	if c := l.want[channel]; c != nil && !l.ended {
		c.inPlace, c.failures = true, 0
		l.w.hub.resync(c.owner)
	}
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
	unknown := serverSaid(err, "ERR unknown command")
	l.w.unsharded[l.node] = l.sharded && unknown
	refused := serverSaid(err, "NOPERM") || serverSaid(err, "NOAUTH") || serverSaid(err, "WRONGPASS") ||
		!l.sharded && unknown || l.node == nil && errors.Is(err, redis.ErrClosed)
	if cluster, ok := l.w.b.client.(clusterClient); ok && !refused {
		cluster.ReloadState(context.Background())
	}
	for _, c := range l.want {
		if refused {
			l.w.giveUp(c, err)
			continue
		}
		c.link, c.inPlace = nil, false
		c.failures++
		go l.w.route(c)
	}
}
