package torture

import (
	"context"
	"fmt"

	"github.com/taskstore/taskstore"
)

// batchStep makes a few calls on a task of several records.
//
// A task's first record is written only while it exists, and each batch demands a version
// of it. So a late or repeated copy of a batch cannot pass for a new one, although the
// other records are created and removed over and over.
func (c *client) batchStep(ctx context.Context) {
	task, ok := c.shared.pick(c.random)
	n := c.random.IntN(100)
	if !ok {
		n = 0
	}
	place := c.random.IntN(places)
	one := Call{Task: task, Place: place, Data: c.data(0)}
	switch {
	case n < 8:
		task = fmt.Sprintf("task-%d-%d", c.id, c.calls)
		if r, ok := c.batch(ctx, task, c.create); ok && !r.Unknown {
			c.shared.publish(task)
		}
	case n < 30:
		c.look(ctx, task)
	case n < 40:
		one.Verb, one.Expected = PutIfVersion, max(c.expected(name{task, place}), 1)
		c.do(ctx, one)
	case n < 46:
		one.Verb, one.Data = Delete, ""
		c.do(ctx, one)
	case n < 75:
		c.look(ctx, task)
		c.batch(ctx, task, c.change)
	default:
		c.batch(ctx, task, c.change)
	}
}

// look reads two records of a task one after the other, in any order.
func (c *client) look(ctx context.Context, task string) {
	for _, place := range c.some() {
		c.do(ctx, Call{Verb: Get, Task: task, Place: place})
	}
}

// batch makes a batch of the writes that the function write chooses for some records.
func (c *client) batch(ctx context.Context, task string, write func(record name, first bool) Write) (Result, bool) {
	call := Call{Verb: PutBatch, Task: task}
	for i, place := range c.some() {
		w := write(name{task, place}, i == 0)
		w.Place = place
		if !w.Remove {
			w.Data = c.data(i)
		}
		call.Writes = append(call.Writes, w)
	}
	return c.do(ctx, call)
}

func (c *client) create(name, bool) Write { return Write{} }

// change updates or removes a record as the client knows it. Except for the task's first
// record, it also creates records, and changes them regardless of their version.
func (c *client) change(record name, first bool) Write {
	w := Write{Expected: c.expected(record)}
	n := c.random.IntN(100)
	switch {
	case record.place == 0:
		w.Expected, w.Remove = max(w.Expected, 1), n < 10
	case n < 15:
		w.Remove = true
	case n < 30 && !first:
		w.Expected, w.Remove = taskstore.AnyVersion, n < 20
	}
	return w
}

// some returns two or three places in any order, including that of the task's first record.
func (c *client) some() []int {
	some := []int{0, 1, 2}
	if c.random.IntN(4) > 0 {
		some = []int{0, 1}
	}
	c.random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some
}

// data returns text that is unique to the nth write of the current call.
func (c *client) data(n int) string { return fmt.Sprintf("%d-%d.%d", c.id, c.calls, n) }

// learn keeps the versions that a call has told.
func (c *client) learn(call Call, r Result) {
	switch {
	case call.Verb != PutBatch:
		c.seen[name{call.Task, call.Place}] = r.Version
	case r.Conflict:
		c.seen[name{call.Task, call.Writes[r.Index].Place}] = r.Version
	default:
		for _, w := range call.Writes {
			record := name{call.Task, w.Place}
			switch {
			case w.Remove:
				c.seen[record] = 0
			case w.Expected == taskstore.AnyVersion:
				c.seen[record]++ // a guess
			default:
				c.seen[record] = w.Expected + 1
			}
		}
	}
}
