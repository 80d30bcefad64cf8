package taskstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redisfeed"
	"github.com/taskstore/taskstore/internal/redislink"
)

// A redisWatch turns the hints that writes publish into changes. All watchers of a
// collection share a channel.
type redisWatch struct {
	keys redisKeys
	hub  hub.Hub
	feed *redisfeed.Feed
	mu   sync.Mutex // the hub's watchers and the feed's channels change together
}

func newRedisWatch(link *redislink.Link, keys redisKeys) *redisWatch {
	w := &redisWatch{keys: keys}
	w.feed = redisfeed.New(link, w)
	return w
}

// Watch implements [Watcher]. Hints travel by pub/sub, so they cost a connection
// for each process that watches, not for each watch; in a Cluster of servers 7.0
// or later, by sharded pub/sub, one connection for each master.
//
// If the user may not publish, or the server cannot, the watch ends with the server's
// error, as no hint would come.
//
// After a fault the watch reconnects and yields a Resync within seconds of the moment at
// which the server, or the one promoted in its place, takes writes. While the slot of an
// owner moves to another node of a Cluster, hints may wait for the end of the move, and
// come as a Resync.
func (b *RedisBackend) Watch(ctx context.Context, prefix Key) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		err := b.usable(ctx)
		if err == nil {
			err = prefix.ValidatePrefix()
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
		watcher.Run(ctx, changes(prefix, yield))
	}
}

func (w *redisWatch) join(prefix Key) *hub.Watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	watcher := w.hub.Join(scopeOf(prefix), prefix.Task)
	if w.feed.Join(w.keys.channel(watcher.Scope)) {
		watcher.Lost()
	}
	return watcher
}

func (w *redisWatch) leave(watcher *hub.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.hub.Leave(watcher); last {
		w.feed.Leave(w.keys.channel(watcher.Scope))
	}
}

// Message implements [redisfeed.Receiver]: a write has published a hint. A malformed
// message is another program's; it may still mean that a record changed.
func (w *redisWatch) Message(channel, payload string) {
	scope := w.keys.scopeOf(channel)
	number, task, ok := strings.Cut(payload, " ")
	version, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil || task == "" {
		w.hub.Resync(scope)
		return
	}
	w.hub.Hint(scope, task, version)
}

// Resync implements [redisfeed.Receiver]: the watchers must read everything again.
func (w *redisWatch) Resync(channel string) { w.hub.Resync(w.keys.scopeOf(channel)) }

// Fail implements [redisfeed.Receiver].
func (w *redisWatch) Fail(channel string, err error) {
	if errors.Is(err, redisfeed.ErrClosed) {
		err = ErrClosed
	} else {
		err = fmt.Errorf("taskstore: watch: %w", redislink.Redact(err))
	}
	w.hub.Fail(w.keys.scopeOf(channel), err)
}
