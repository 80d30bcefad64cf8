package look

import (
	"context"
	"errors"
	"regexp"
	"sync"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// anonymousID matches the ids of anonymous tasks, as clients of mcptasks see them: the
// stored id, and two digits that name the owner.
var anonymousID = regexp.MustCompile(`^(.{36})-([0-9a-f]{2})$`)

// looksAtOnce is the number of owners that are searched concurrently.
const looksAtOnce = 16

// A Bar starts a progress bar over so many owners. The caller calls step for each of them,
// and end at the end.
type Bar func(owners int) (step, end func())

// NoBar is a Bar without output.
func NoBar(int) (step, end func()) { return func() {}, func() {} }

// Find returns the task of owner, or of any owner if owner is empty. A task that exists but
// cannot be read is returned with its Owner and ID, and with the error.
func Find(ctx context.Context, i *tasks.Inspector, owner, id string, bar Bar) (tasks.Stored, error) {
	if m := anonymousID.FindStringSubmatch(id); m != nil && (owner == "" || owner == "a:"+m[2]) {
		owner, id = "a:"+m[2], m[1]
	}
	if owner != "" {
		return lookAt(ctx, i, owner, id)
	}
	all, err := Owners(ctx, i)
	if err != nil {
		return tasks.Stored{}, err
	}
	return findAmong(ctx, i, all, id, bar)
}

// findAmong searches the owners for the task.
func findAmong(ctx context.Context, i *tasks.Inspector, all []string, id string, bar Bar) (tasks.Stored, error) {
	looks, cancel := context.WithCancel(ctx)
	defer cancel()
	step, end := bar(len(all))
	defer end()
	var (
		mu    sync.Mutex
		next  int
		found *tasks.Stored
		last  error = tasks.ErrNotFound
		wait  sync.WaitGroup
	)
	for range min(looksAtOnce, len(all)) {
		wait.Go(func() {
			for {
				mu.Lock()
				if next == len(all) || looks.Err() != nil {
					mu.Unlock()
					return
				}
				owner := all[next]
				next++
				step()
				mu.Unlock()
				t, err := lookAt(looks, i, owner, id)
				if errors.Is(err, tasks.ErrNotFound) {
					continue
				}
				mu.Lock()
				if found == nil && looks.Err() == nil {
					found, last = &t, err
				}
				mu.Unlock()
				cancel()
			}
		})
	}
	wait.Wait()
	switch {
	case found != nil:
		return *found, last
	case ctx.Err() != nil:
		return tasks.Stored{}, ctx.Err()
	}
	return tasks.Stored{}, last
}

func lookAt(ctx context.Context, i *tasks.Inspector, owner, id string) (tasks.Stored, error) {
	t, err := i.Get(ctx, owner, id)
	if err != nil {
		t = tasks.Stored{Task: tasks.Task{Owner: owner, ID: id}}
	}
	return t, err
}

// Unreadable reports whether err means that a task exists but cannot be read.
func Unreadable(err error) bool {
	return errors.Is(err, tasks.ErrFormat) || errors.Is(err, taskstore.ErrCorrupt)
}
