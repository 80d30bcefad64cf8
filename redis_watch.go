package taskstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/taskstore/taskstore/internal/redisfeed"
	"github.com/taskstore/taskstore/internal/redislink"
)

// A redisWatch makes changes of what writes publish. All watchers of an owner share a
// channel.
type redisWatch struct {
	keys redisKeys
	hub  hub
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
	if w.feed.Join(w.keys.channel(prefix.Owner)) {
		watcher.lost()
	}
	return watcher
}

func (w *redisWatch) leave(watcher *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.hub.leave(watcher); last {
		w.feed.Leave(w.keys.channel(watcher.prefix.Owner))
	}
}

// Message implements [redisfeed.Receiver]: a write has published a hint. A message
// that cannot be read is another program's; it may still mean that something changed.
func (w *redisWatch) Message(channel, payload string) {
	owner := w.keys.ownerOf(channel)
	number, task, ok := strings.Cut(payload, " ")
	version, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil || task == "" {
		w.hub.resync(owner)
		return
	}
	w.hub.hint(Key{Owner: owner, Task: task}, Version(version))
}

// Resync implements [redisfeed.Receiver]: the watchers are told to look at what there is.
func (w *redisWatch) Resync(channel string) { w.hub.resync(w.keys.ownerOf(channel)) }

// Fail implements [redisfeed.Receiver].
func (w *redisWatch) Fail(channel string, err error) {
	if errors.Is(err, redisfeed.ErrClosed) {
		err = ErrClosed
	} else {
		err = fmt.Errorf("taskstore: watch: %w", redislink.Redact(err))
	}
	w.hub.fail(w.keys.ownerOf(channel), err)
}
