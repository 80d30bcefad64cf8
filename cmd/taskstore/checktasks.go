package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A census counts the faults of the stored tasks.
type census struct {
	orphans, longestOrphan int // tasks; seconds
	newer, damaged, noTask int
	unlisted               int // owners
	full, busy             int // owners
	strays                 int // entries
}

// orphanGrace is how long a task's lease may be over before doctor reports the task. Within
// that time a server that looks for orphans, or a client that polls, should have found it.
const orphanGrace = time.Minute

// checkTasks checks all stored tasks.
func (a *app) checkTasks(ctx context.Context, b taskstore.StorageBackend, l limits) ([]diagnosis, error) {
	now, err := taskstore.Now(ctx, b)
	if err != nil {
		return unreachable("the clock cannot be read: ", err), interrupted(ctx)
	}
	i := tasks.NewInspector(b)
	c := &census{}
	w := &walk{a: a, i: i}
	err = w.eachOwner(ctx, func(owner string) error { return c.count(ctx, i, owner, now, l) })
	if err == nil {
		var strays int
		strays, err = i.RegistryStrays(ctx)
		c.strays += strays
	}
	switch {
	case interrupted(ctx) != nil:
		return nil, ctx.Err()
	case ctx.Err() != nil:
		return append(c.findings(), diagnosis{notKnown, "", "the command timed out before it had read all tasks", "faults of the other tasks are unknown", "give a longer --timeout"}), nil
	case errors.Is(err, look.ErrNoOwners), errors.As(err, new(look.OwnersRightError)):
		return append(c.findings(), diagnosis{notKnown, "", safeLine(err.Error()), "doctor has read no tasks", "grant the right to list owners, or look at one owner by taskstore ls --owner"}), nil
	case err != nil:
		return append(c.findings(), unreachable("the tasks cannot be read: ", err)...), nil
	}
	return c.findings(), nil
}

// count counts the faults of one owner's tasks.
func (c *census) count(ctx context.Context, i *tasks.Inspector, owner string, now time.Time, l limits) error {
	all, active := 0, 0
	for t, err := range i.All(ctx, owner) {
		switch {
		case errors.Is(err, tasks.ErrNoTask):
			c.noTask++
		case errors.Is(err, tasks.ErrFormat):
			c.newer++
		case errors.Is(err, taskstore.ErrCorrupt) && t.ID == "":
			c.unlisted++
			return nil
		case errors.Is(err, taskstore.ErrCorrupt):
			c.damaged++
		case err != nil:
			return err
		}
		all++
		if err != nil || t.Status.Terminal() {
			continue
		}
		active++
		if late := lateness(t.Task, now); late > orphanGrace {
			c.orphans++
			c.longestOrphan = max(c.longestOrphan, int(late/time.Second))
		}
	}
	if l.maxTasks > 0 && all >= l.maxTasks {
		c.full++
	}
	if l.maxActive > 0 && active >= l.maxActive {
		c.busy++
	}
	strays, err := i.Strays(ctx, owner)
	c.strays += strays
	return err
}

// lateness returns how long a task has waited for a server to work on it.
func lateness(t tasks.Task, now time.Time) time.Duration {
	if !look.IsOrphan(t, now) {
		return 0
	}
	since := t.Lease.ExpiresAt
	if since.IsZero() || !t.Lease.IdleSince.IsZero() && t.Lease.IdleSince.Before(since) {
		since = t.Lease.IdleSince
	}
	return now.Sub(since)
}

// findings returns the faults and their remedies. They name no owner: ls and owners do.
func (c *census) findings() (all []diagnosis) {
	add := func(n int, setting, breaks, remedy string) {
		if n > 0 {
			all = append(all, diagnosis{Level: weakened, Setting: fmt.Sprintf(setting, n), Breaks: breaks, Remedy: remedy})
		}
	}
	add(c.orphans, "orphans (working tasks of lost runners): %d"+fmt.Sprintf("; the longest for %v", time.Duration(c.longestOrphan)*time.Second),
		"they make no progress, and their clients wait", "start a server of their service, or end them: taskstore ls --all --orphans lists them, taskstore fail ends one")
	add(c.newer, "records of a newer format: %d", "servers of this version and older cannot read these tasks",
		"upgrade the servers and this command, or remove the tasks by taskstore delete")
	add(c.damaged, "records that are damaged: %d", "their tasks cannot be read", "find the other program that writes to the store; remove them by taskstore delete")
	add(c.noTask, "records among the tasks that are not tasks: %d", "another version of the servers, or another program, wrote them; they count toward the limits",
		"give each program a prefix of its own; tasks of an older layout end with their TTL")
	add(c.unlisted, "owners whose tasks cannot be listed: %d", "their tasks cannot be listed or created", "taskstore ls --all names the key to remove")
	add(c.full, "owners at their limit of tasks: %d", "their next create is refused until one expires", "see taskstore owners; remove tasks, shorten Retention, or raise MaxTasks")
	add(c.busy, "owners at their limit of active tasks: %d", "their next create is refused until one ends", "see taskstore owners; end tasks, or raise MaxActive")
	add(c.strays, "index entries without a record: %d", "they count toward the limit of active tasks", "they expire by themselves; find the other program that deletes records")
	return all
}
