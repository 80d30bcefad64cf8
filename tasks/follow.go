package tasks

import (
	"context"
	"iter"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// ChangesOf is [Store.Changes] for several tasks at once, each named by its Owner and,
// as Task, its ID. It yields each task as it is, then its newer states, and ends when
// all have ended. A task that is named twice is followed once.
//
// If a task cannot be followed, for one of the reasons that end Changes, ChangesOf
// yields that error with a Task that has only Owner and ID, and goes on with the
// others. When ctx is done, its error comes with the zero Task and the loop ends.
//
// It costs one watch and one goroutine for each owner, and reads up to 16 tasks at
// once. It leaves no goroutine behind when the loop has ended.
func (s *Store) ChangesOf(ctx context.Context, named []taskstore.Key) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		f := &follower{store: s, owners: make(map[string]*watched), wake: make(chan struct{}, 1)}
		for _, name := range named {
			if key, err := taskKey(name.Owner, name.Task); err == nil {
				f.add(key, name)
			} else if !yield(Task{Owner: name.Owner, ID: name.Task}, err) {
				return
			}
		}
		defer f.stop()
		for f.look(ctx, yield) && len(f.tasks) > 0 {
			if f.cancel == nil {
				// The first hint is a Resync, so a change before it is seen.
				f.watch(ctx)
			}
			if err := f.pause(ctx); err != nil {
				yield(Task{}, err)
				return
			}
		}
	}
}

// looksAtOnce is how many tasks a follower reads at once.
const looksAtOnce = 16

// A follower reads tasks when a hint comes, and polls them too.
type follower struct {
	store  *Store
	tasks  []*followed         // the tasks that have not ended
	owners map[string]*watched // by the owners of the records

	cancel  context.CancelFunc // ends the watches; nil before they begin
	watches sync.WaitGroup

	mu   sync.Mutex    // guards the hints and due
	wake chan struct{} // holds a token when hints wait or a task is due
}

// A followed task is read when it is due: its timer has fired, or a hint came.
type followed struct {
	key   taskstore.Key // of the record
	name  taskstore.Key // owner and id
	hints *watched
	seen  Task // its outline
	due   bool
	timer *time.Timer // nil before the first read
}

// watched holds the hints of one owner until they are taken.
type watched struct {
	prefix  taskstore.Key
	wanted  map[taskstore.Key]bool // read-only once the watch begins
	alive   bool                   // hints may come
	resync  bool
	changes map[taskstore.Key]taskstore.Version
}

// add follows one more task.
func (f *follower) add(key, name taskstore.Key) {
	w := f.owners[key.Owner]
	switch {
	case w == nil:
		_, can := taskstore.As[taskstore.Watcher](f.store.backend)
		w = &watched{
			prefix: key, alive: can,
			wanted:  make(map[taskstore.Key]bool),
			changes: make(map[taskstore.Key]taskstore.Version),
		}
		f.owners[key.Owner] = w
	case w.wanted[key]:
		return
	default:
		w.prefix.Task = "" // all of the owner
	}
	w.wanted[key] = true
	f.tasks = append(f.tasks, &followed{key: key, name: name, hints: w, due: true})
}

// look reads the tasks that are due and yields the new states. It reports whether to go
// on.
func (f *follower) look(ctx context.Context, yield func(Task, error) bool) bool {
	type result struct {
		of   *followed
		task Task
		err  error
	}
	var due []*result
	f.mu.Lock()
	for _, t := range f.tasks {
		if t.due {
			t.due = false
			due = append(due, &result{of: t})
		}
	}
	f.mu.Unlock()
	turns := make(chan struct{}, looksAtOnce)
	var all sync.WaitGroup
	for _, r := range due {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			r.task, r.err = f.store.Get(ctx, r.of.name.Owner, r.of.name.Task)
		})
	}
	all.Wait()
	now, noClock := f.store.now(ctx)
	if err := ctx.Err(); err != nil {
		yield(Task{}, err)
		return false
	}
	for _, r := range due {
		t := r.of
		switch {
		case r.err != nil && isFinal(ctx, r.err):
			f.unfollow(t)
			if !yield(Task{Owner: t.name.Owner, ID: t.name.Task}, r.err) {
				return false
			}
		case r.err != nil:
			f.lookIn(t, f.interval(t, now, true))
		default:
			got, last := r.task, t.seen
			t.seen = got.outline()
			if got.Status.Terminal() {
				f.unfollow(t)
			} else {
				f.lookIn(t, f.interval(t, now, noClock != nil))
			}
			isNew := got.Revision != last.Revision || got.Lease.Token != last.Lease.Token || !got.CreatedAt.Equal(last.CreatedAt)
			if isNew && !yield(got, nil) {
				return false
			}
		}
	}
	return true
}

// lookIn makes t due after d.
func (f *follower) lookIn(t *followed, d time.Duration) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		t.due = true
		f.rouse()
	})
}

// rouse ends a pause.
func (f *follower) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// unfollow stops following t.
func (f *follower) unfollow(t *followed) {
	if t.timer != nil {
		t.timer.Stop()
	}
	f.tasks = slices.DeleteFunc(f.tasks, func(other *followed) bool { return other == t })
}

// interval returns how long to wait for a hint before the next read of t; failed says
// that the last read failed.
func (f *follower) interval(t *followed, now time.Time, failed bool) time.Duration {
	interval := f.store.opts.PollInterval
	f.mu.Lock()
	hinted := t.hints.alive && !failed
	f.mu.Unlock()
	if hinted {
		interval = min(interval, maxDuration/watchedPolls) * watchedPolls
	}
	// Jitter of a fifth spreads the followers of one task.
	interval += time.Duration((mathrand.Float64() - 0.5) * 0.4 * float64(interval))
	if failed {
		return interval
	}
	return f.store.untilDue(&t.seen, now, interval)
}

// pause waits until a task is due.
func (f *follower) pause(ctx context.Context) error {
	for !f.takeHints() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		}
	}
	return ctx.Err()
}

// takeHints makes the tasks due that may have changed, and reports whether a task is
// due.
func (f *follower) takeHints() (due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tasks {
		version, hinted := t.hints.changes[t.key]
		t.due = t.due || t.hints.resync || hinted && version != t.seen.Version
		due = due || t.due
	}
	for _, w := range f.owners {
		w.resync = false
		clear(w.changes)
	}
	return due
}

// watch starts a watch for each owner. Without a Watcher hints do not come.
func (f *follower) watch(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	watcher, ok := taskstore.As[taskstore.Watcher](f.store.backend)
	if !ok {
		return
	}
	for _, w := range f.owners {
		f.watches.Go(func() {
			for c, err := range watcher.Watch(ctx, w.prefix) {
				f.hint(w, c, err)
			}
		})
	}
}

// hint keeps the outcome of a watch until it is taken.
func (f *follower) hint(w *watched, c taskstore.Change, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil: // polling goes on, and reports a permanent failure
		w.alive, w.resync = false, true
	case c.Resync:
		w.resync = true
	case w.wanted[c.Key]:
		w.changes[c.Key] = c.Version
	default:
		return
	}
	f.rouse()
}

// stop ends the watches and waits for their goroutines.
func (f *follower) stop() {
	for _, t := range f.tasks {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
	if f.cancel != nil {
		f.cancel()
		f.watches.Wait()
	}
}
