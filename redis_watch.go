package taskstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A redisWatch knows which channel each watched owner needs and on which link,
// which is a connection to one node, it is subscribed. All watchers of a process
// share one link, or one a node in a Cluster. A watched owner always has a
// channel; a channel without a link is being routed to one.
type redisWatch struct {
	b      *RedisBackend
	hub    hub
	ctx    context.Context // of all that runs in the background; done at Close
	cancel context.CancelFunc

	mu        sync.Mutex
	channels  map[string]*watchedChannel
	links     map[*redis.Client]*watchLink // by node; nil is the only one there is
	unsharded map[*redis.Client]bool       // nodes that know no sharded channels
	counts    bool                         // servers tell how many receive a message
	closed    bool
}

type watchedChannel struct {
	name, owner string
	link        *watchLink
	inPlace     bool      // the server has confirmed the subscription
	failures    int       // links lost since it was last in place
	rejected    time.Time // since when the servers have refused the user or the password
}

func (w *redisWatch) init(b *RedisBackend) {
	w.b = b
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.channels = make(map[string]*watchedChannel)
	w.links = make(map[*redis.Client]*watchLink)
	w.unsharded = make(map[*redis.Client]bool)
}

// Watch implements [Watcher]. Hints travel by pub/sub, so they cost a connection
// for each process that watches, not for each watch; in a Cluster of servers 7.0
// or later by sharded pub/sub, one connection for each master.
//
// A user who may not publish, or a server that cannot, ends the watch with the
// server's error: no hint would come.
//
// After a fault the watch is in place again, and says Resync, within seconds of
// the moment at which the server, or the one promoted in its place, takes writes.
// While the slot of an owner moves to another node of a Cluster, hints may wait
// for the end of the move, and come as a Resync.
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
	name := w.b.keys.channel(prefix.Owner)
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
	name := w.b.keys.channel(watcher.prefix.Owner)
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
	w.cancel()
	for name, c := range w.channels {
		w.hub.fail(c.owner, ErrClosed)
		delete(w.channels, name)
		if c.link != nil {
			c.link.drop(c)
		}
	}
}

// What to wait before a channel is routed again.
const (
	minRouteDelay = 20 * time.Millisecond
	maxRouteDelay = 500 * time.Millisecond
)

// A step on the way to a subscription is given this long, and longer after many
// failures: a server that stands still should not keep us from the one that was
// promoted in its place, and one that is slow should be reached in the end.
const (
	minStepTimeout = time.Second
	maxStepTimeout = 8 * time.Second
)

func stepTimeout(failures int) time.Duration {
	return min(minStepTimeout<<min(failures/4, 10), maxStepTimeout)
}

// route finds the node that has the channel and hands the channel to the link
// that leads there. It goes on until it succeeds or nobody watches any more.
func (w *redisWatch) route(c *watchedChannel) {
	for {
		if n := c.failures; n > 0 {
			delay := min(minRouteDelay<<min(n-1, 10), maxRouteDelay)
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-w.ctx.Done():
				return
			}
		}
		node, err := w.node(c)
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
		// The client itself is closed, which no wait will open, or the user may not ask.
		if errors.Is(err, redis.ErrClosed) || redislink.Refused(err) || w.rejectedFor(c, err) > redislink.RetryTime {
			w.giveUp(c, err)
			w.mu.Unlock()
			return
		}
		c.failures++
		w.mu.Unlock()
	}
}

// node returns the client of the node that has the channel, nil outside a
// Cluster. What the client knows of a Cluster may be out of date, so the node is
// asked: a subscription that it refused would end its link, with all the others.
func (w *redisWatch) node(c *watchedChannel) (*redis.Client, error) {
	cluster, ok := w.b.link.Client().(redislink.ClusterClient)
	if !ok {
		return nil, nil
	}
	if c.failures > 0 {
		w.b.link.RefreshSlots(w.ctx)
	}
	ctx, cancel := context.WithTimeout(w.ctx, stepTimeout(c.failures))
	defer cancel()
	node, err := cluster.MasterForKey(ctx, c.name)
	if err != nil {
		return nil, err
	}
	_, err = redislink.Detach(ctx, func() (int64, error) { return node.ZCard(ctx, c.name).Result() })
	if err != nil && (redislink.Said(err, "MOVED") || !errors.As(err, new(redis.Error))) {
		return nil, err
	}
	return node, nil // the subscription tells what else is wrong
}

// rejectedFor returns how long servers have refused the user or the password, of
// which err is the latest word. A password that is being changed reaches servers and
// clients one by one.
func (w *redisWatch) rejectedFor(c *watchedChannel, err error) time.Duration {
	now := w.b.link.Clock.Local()
	switch {
	case !redislink.BadCredentials(err):
		c.rejected = time.Time{}
		return 0
	case c.rejected.IsZero():
		c.rejected = now
	}
	return now.Sub(c.rejected)
}

// again has c routed to a link that does better than the one that err ended, unless
// that has gone on for too long. It is called with w.mu held.
func (w *redisWatch) again(c *watchedChannel, err error) {
	if w.rejectedFor(c, err) > redislink.RetryTime {
		w.giveUp(c, err)
		return
	}
	c.link, c.inPlace = nil, false
	c.failures++
	go w.route(c)
}

// giveUp ends the watches of c. It is called with w.mu held.
func (w *redisWatch) giveUp(c *watchedChannel, err error) {
	delete(w.channels, c.name)
	w.hub.fail(c.owner, fmt.Errorf("taskstore: watch: %w", redislink.Redact(err)))
}

// assign is called with w.mu held.
func (w *redisWatch) assign(c *watchedChannel, node *redis.Client) {
	l := w.links[node]
	if l == nil {
		l = newWatchLink(w, node, c)
		w.links[node] = l
		go l.run()
	}
	l.add(c)
}
