package ui

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A looker reads all tasks for all open pages, one walk at a time. It holds only the rows
// that the pages show and the names of the owners. While no page is open it is idle.
type looker struct {
	backend   taskstore.StorageBackend
	inspector *tasks.Inspector
	labels    *labels
	feed      *feed
	owner     string // empty: all
	interval  time.Duration
	wake      chan struct{} // holds a token when a field below has changed

	mu     sync.Mutex
	pages  map[*page]bool
	fresh  bool // a page waits for its first view
	hinted bool // a task may have changed since the latest look began
}

// The pauses between two looks, besides the interval. hintPause gathers hints. restFactor
// limits looks to a fifth of the time; while pages wait for a first view, to half of it.
const (
	hintPause  = 200 * time.Millisecond
	restFactor = 4
)

func newLooker(b taskstore.StorageBackend, i *tasks.Inspector, l *labels, opts Options) *looker {
	k := &looker{
		backend: b, inspector: i, labels: l, owner: opts.Owner, interval: opts.Interval,
		wake: make(chan struct{}, 1), pages: make(map[*page]bool),
	}
	k.feed = newFeed(i, k.hint)
	return k
}

// open adds a page. The caller must close it.
func (k *looker) open(q query) *page {
	p := &page{query: q, wake: make(chan struct{}, 1), shown: make(map[string]string), due: make(map[string]string)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pages[p] = true
	k.fresh = true
	rouse(k.wake)
	return p
}

func (k *looker) close(p *page) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pages, p)
	rouse(k.wake)
}

// hint reports that a task may have changed or, if id is empty, any task of the owner.
func (k *looker) hint(owner, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hinted = true
	rouse(k.wake)
	for p := range k.pages {
		p.hint(owner, id)
	}
}

// rouse puts a token into a channel that holds one.
func rouse(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// run looks at the store whenever a look is due, until ctx is done.
func (k *looker) run(ctx context.Context) {
	defer k.feed.running.Wait()
	var last time.Time // when the latest look ended
	var took time.Duration
	for ctx.Err() == nil {
		k.mu.Lock()
		idle, fresh, hinted := len(k.pages) == 0, k.fresh, k.hinted
		k.mu.Unlock()
		var timer <-chan time.Time
		pause := max(k.interval, restFactor*took)
		switch {
		case idle:
			k.feed.watch(ctx, nil)
		case fresh:
			pause = took
		case hinted:
			pause = max(hintPause, restFactor*took)
		}
		if !idle {
			rest := pause - time.Since(last)
			if rest <= 0 {
				began := time.Now()
				k.look(ctx)
				last, took = time.Now(), time.Since(began)
				continue
			}
			timer = time.After(rest)
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer:
		}
	}
}

// look reads all tasks and gives each page its view, or the reason why there is no view.
func (k *looker) look(ctx context.Context) {
	k.mu.Lock()
	pages := slices.Collect(maps.Keys(k.pages))
	k.fresh, k.hinted = false, false
	k.mu.Unlock()
	views, err := k.walk(ctx, pages)
	for i, p := range pages {
		if err != nil {
			p.give(nil, look.Explain(err))
		} else {
			p.give(views[i], "")
		}
	}
}

func (k *looker) walk(ctx context.Context, pages []*page) ([]*view, error) {
	owners := []string{k.owner}
	if k.owner == "" {
		var err error
		if owners, err = look.Owners(ctx, k.inspector); err != nil {
			return nil, err
		}
	}
	k.labels.keep(owners)
	k.feed.watch(ctx, owners)
	now, err := taskstore.Now(ctx, k.backend)
	if err != nil {
		return nil, err
	}
	views := make([]*view, len(pages))
	for i, p := range pages {
		views[i] = newView(p.query, now)
	}
	for _, owner := range owners {
		label := k.labels.of(owner)
		err := look.Each(ctx, k.inspector, owner, func(t tasks.Stored) error {
			one := looked{t, cut(look.ToolOf(t.Task)), label}
			for _, v := range views {
				v.add(one)
			}
			return nil
		}, func(tasks.Stored, error) {
			for _, v := range views {
				v.skip(owner, label)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	state := k.feed.state(len(owners))
	for _, v := range views {
		v.finish()
		v.Feed = state
	}
	return views, nil
}
