package ui

import (
	"fmt"
	"time"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A moment is one event in the life of a task.
type moment struct {
	At   *time.Time `json:"at,omitempty"` // nil: the record does not have it
	Kind string     `json:"kind"`         // its looks: start, run, lost, ask, cancel, good, bad, later
	What string     `json:"what"`
	More string     `json:"more,omitempty"`
}

// timelineOf returns the past events of a task, as far as its record has them, in order,
// and then the expected ones. Of most kinds it has only the latest time, or a count.
func timelineOf(t tasks.Task, now time.Time) []moment {
	line := []moment{{At: &t.CreatedAt, Kind: "start", What: "created"}}
	add := func(at time.Time, kind, what, more string) {
		m := moment{Kind: kind, What: what, More: more}
		if !at.IsZero() {
			m.At = &at
		}
		line = append(line, m)
	}
	ended := t.Status.Terminal()
	if t.LostRuns > 0 {
		add(time.Time{}, "lost", count(int(t.LostRuns), "runner was lost", "runners were lost"), "another runner took the task over")
	}
	if t.Lease.Token > 0 {
		add(time.Time{}, "run", count(int(t.Lease.Token), "run began", "runs began"), holder(t, ended || look.IsOrphan(t, now)))
	}
	if n := len(t.InputKeys); n > 0 {
		add(time.Time{}, "ask", count(n, "question was asked", "questions were asked"), fmt.Sprintf("%d of them open", len(t.InputRequests)))
	}
	if !ended && !t.UpdatedAt.Equal(t.CreatedAt) {
		add(t.UpdatedAt, "run", "latest change", fmt.Sprintf("revision %d", t.Revision))
	}
	if t.CancelRequested {
		add(time.Time{}, "cancel", "cancel was requested", "")
	}
	if !ended {
		line = append(line, leaseOf(t, now)...)
	} else {
		kind := "bad"
		if t.Status == tasks.Completed {
			kind = "good"
		}
		add(t.UpdatedAt, kind, string(t.Status), "after "+t.UpdatedAt.Sub(t.CreatedAt).Round(time.Millisecond).String())
	}
	if t.TTL > 0 && !ended {
		add(t.CreatedAt.Add(t.TTL), "later", "clients may count on it until then", "")
	}
	if !t.ExpiresAt.IsZero() {
		add(t.ExpiresAt, "later", "expires", "")
	}
	return line
}

func holder(t tasks.Task, over bool) string {
	switch {
	case t.Lease.Holder == "":
		return ""
	case over:
		return "the latest by " + t.Lease.Holder
	case t.Lease.Detached:
		return "detached by " + t.Lease.Holder + ": another process does the work"
	}
	return "now by " + t.Lease.Holder
}

// leaseOf returns the lease of a task that has not ended: its runner, and the time until
// which the runner is believed to work.
func leaseOf(t tasks.Task, now time.Time) (line []moment) {
	l := t.Lease
	if !l.IdleSince.IsZero() {
		line = append(line, moment{At: &l.IdleSince, Kind: "lost", What: "the runner has been silent since"})
	}
	switch {
	case l.ExpiresAt.IsZero():
	case look.IsOrphan(t, now) && now.After(l.ExpiresAt):
		line = append(line, moment{At: &l.ExpiresAt, Kind: "lost", What: "the lease expired", More: "the runner has not renewed it"})
	case l.Detached:
		line = append(line, moment{At: &l.ExpiresAt, Kind: "later", What: "deadline of the detached work"})
	default:
		line = append(line, moment{At: &l.ExpiresAt, Kind: "later", What: "the lease expires, unless the runner renews it"})
	}
	return line
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
