package ui

import (
	"context"
	"errors"
	"sync"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// maxWatched is the greatest number of owners that are watched; the looker polls the others.
const maxWatched = 64

// A feed watches owners and passes on hints of changes to their tasks.
type feed struct {
	inspector *tasks.Inspector
	hint      func(owner, id string) // an empty id: any task of the owner

	mu      sync.Mutex
	watches map[string]*ownerWatch
	running sync.WaitGroup
}

// An ownerWatch is the watch of one owner.
type ownerWatch struct {
	cancel context.CancelFunc
	failed error // the error that ended it
}

// A feedState describes the coverage of the watches.
type feedState struct {
	Owners  int    `json:"owners"`
	Watched int    `json:"watched"`          // owners whose changes the store reports
	Reason  string `json:"reason,omitempty"` // why it does not report all
}

func newFeed(i *tasks.Inspector, hint func(owner, id string)) *feed {
	return &feed{inspector: i, hint: hint, watches: make(map[string]*ownerWatch)}
}

// watch watches the owners, up to maxWatched, and ends all other watches.
func (f *feed) watch(ctx context.Context, owners []string) {
	wanted := make(map[string]bool, len(owners))
	for _, owner := range owners {
		wanted[owner] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for owner, w := range f.watches {
		if !wanted[owner] {
			w.cancel()
			delete(f.watches, owner)
		}
	}
	for _, owner := range owners {
		if len(f.watches) == maxWatched {
			return
		}
		if f.watches[owner] == nil {
			f.start(ctx, owner)
		}
	}
}

func (f *feed) start(ctx context.Context, owner string) {
	ctx, cancel := context.WithCancel(ctx)
	w := &ownerWatch{cancel: cancel}
	f.watches[owner] = w
	f.running.Go(func() {
		defer cancel()
		for c, err := range f.inspector.Watch(ctx, owner, "") {
			if err != nil {
				f.mu.Lock()
				w.failed = err
				f.mu.Unlock()
				return
			}
			id := c.Key.Task
			if c.Resync {
				id = ""
			}
			f.hint(owner, id)
		}
	})
}

// state returns the number of owners that are watched, and why the others are not.
func (f *feed) state(owners int) feedState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := feedState{Owners: owners}
	for _, w := range f.watches {
		switch {
		case w.failed == nil:
			s.Watched++
		case errors.Is(w.failed, errors.ErrUnsupported):
			s.Reason = "this store sends no hints of changes"
		default:
			s.Reason = look.Explain(w.failed)
		}
	}
	if s.Reason == "" && s.Watched < owners {
		s.Reason = "too many owners to watch"
	}
	return s
}
