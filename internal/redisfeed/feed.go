// Package redisfeed keeps subscriptions to channels of Redis in place across broken
// connections, failovers and slots that move. It knows only the names of channels.
package redisfeed

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// ErrClosed ends the channels of a Feed that was closed.
var ErrClosed = errors.New("the feed is closed")

// A Receiver is told about the channels of a Feed. The Feed calls all methods but Message
// with its lock held: they must return soon and must not call the Feed.
type Receiver interface {
	// Message receives a published message.
	Message(channel, payload string)
	// Resync says that the subscription is in place: messages may have been missed before,
	// and all later ones arrive.
	Resync(channel string)
	// Fail says that no subscription is possible. It is the last call for the channel.
	Fail(channel string, err error)
}

// A Feed knows the wanted channels and the connection on which each is subscribed. One
// connection serves all of them, or one per node in a Cluster. A channel without a
// connection is being routed to one.
type Feed struct {
	link   *redislink.Link
	to     Receiver
	ctx    context.Context // of all background work; done at Close
	cancel context.CancelFunc

	mu          sync.Mutex
	channels    map[string]*channel
	connections map[redislink.Node]*connection
	unsharded   map[redislink.Node]bool // nodes that have no sharded channels
	counts      bool                    // servers tell how many clients receive a message
	closed      bool
}

type channel struct {
	name       string
	connection *connection
	inPlace    bool      // the server has confirmed the subscription
	failures   int       // connections lost since it was last in place
	rejected   time.Time // when the servers began to refuse the user or the password
}

// New returns a feed over link.
func New(link *redislink.Link, to Receiver) *Feed {
	f := &Feed{
		link: link, to: to,
		channels:    make(map[string]*channel),
		connections: make(map[redislink.Node]*connection),
		unsharded:   make(map[redislink.Node]bool),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Join subscribes to the channel, unless it is subscribed, and reports whether the
// subscription is in place. If not, Resync follows.
func (f *Feed) Join(name string) (inPlace bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.channels[name]
	switch {
	case f.closed:
		f.to.Fail(name, ErrClosed)
	case c == nil:
		c = &channel{name: name}
		f.channels[name] = c
		go f.route(c)
	}
	return c != nil && c.inPlace
}

// Leave ends the subscription.
func (f *Feed) Leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.channels[name]; c != nil {
		f.drop(c)
	}
}

// drop is called with f.mu held.
func (f *Feed) drop(c *channel) {
	delete(f.channels, c.name)
	if c.connection != nil {
		c.connection.drop(c)
	}
}

// Close ends all subscriptions.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.cancel()
	for name, c := range f.channels {
		f.to.Fail(name, ErrClosed)
		f.drop(c)
	}
}

// The delay before a channel is routed again.
const (
	minRouteDelay = 20 * time.Millisecond
	maxRouteDelay = 500 * time.Millisecond
)

// The timeout of each step on the way to a subscription, which grows with the failures. A
// server that hangs must not keep the feed from the one that was promoted in its place, and
// a slow one should be reached in the end.
const (
	minStepTimeout = time.Second
	maxStepTimeout = 8 * time.Second
)

func stepTimeout(failures int) time.Duration {
	return min(minStepTimeout<<min(failures/4, 10), maxStepTimeout)
}

// route finds the node that has the channel and assigns the channel to the connection to
// that node. It retries until it succeeds or the channel is no longer wanted.
func (f *Feed) route(c *channel) {
	for {
		if n := c.failures; n > 0 {
			delay := min(minRouteDelay<<min(n-1, 10), maxRouteDelay)
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-f.ctx.Done():
				return
			}
		}
		node, err := f.node(c)
		f.mu.Lock()
		if f.channels[c.name] != c { // it is no longer wanted
			f.mu.Unlock()
			return
		}
		if err == nil {
			f.assign(c, node)
			f.mu.Unlock()
			return
		}
		// Permanent: the client itself is closed, or the user may not ask.
		if redislink.ClientClosed(err) || redislink.Refused(err) || f.rejectedFor(c, err) > redislink.RetryTime {
			f.fail(c, err)
			f.mu.Unlock()
			return
		}
		c.failures++
		f.mu.Unlock()
	}
}

// node returns the node that has the channel. Another node would refuse the subscription,
// and that would end its connection with all other channels.
func (f *Feed) node(c *channel) (redislink.Node, error) {
	if c.failures > 0 {
		f.link.RefreshSlots(f.ctx)
	}
	ctx, cancel := context.WithTimeout(f.ctx, stepTimeout(c.failures))
	defer cancel()
	return f.link.NodeOf(ctx, c.name)
}

// rejectedFor returns how long servers have refused the user or the password; err is their
// latest answer. A password that is being changed reaches servers and clients one by one.
func (f *Feed) rejectedFor(c *channel, err error) time.Duration {
	now := f.link.Clock.Local()
	switch {
	case !redislink.BadCredentials(err):
		c.rejected = time.Time{}
		return 0
	case c.rejected.IsZero():
		c.rejected = now
	}
	return now.Sub(c.rejected)
}

// again has c routed once more after err ended its connection, unless that has gone on for
// too long. It is called with f.mu held.
func (f *Feed) again(c *channel, err error) {
	if f.rejectedFor(c, err) > redislink.RetryTime {
		f.fail(c, err)
		return
	}
	c.connection, c.inPlace = nil, false
	c.failures++
	go f.route(c)
}

// fail ends c. It is called with f.mu held.
func (f *Feed) fail(c *channel, err error) {
	delete(f.channels, c.name)
	f.to.Fail(c.name, err)
}

// assign is called with f.mu held.
func (f *Feed) assign(c *channel, node redislink.Node) {
	l := f.connections[node]
	if l == nil {
		l = newConnection(f, node, c)
		f.connections[node] = l
		go l.run()
	}
	l.add(c)
}
