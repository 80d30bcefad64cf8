package backendtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

// fullBatching returns a Batcher with a limit of 3 records, and an owner that has 3.
func (t *trial) fullBatching() (s batching, owner string) {
	t.Helper()
	f, owner := t.full()
	return f.batching(), owner
}

// upTo is a create in a collection that may have most records.
func upTo(most int, key taskstore.Key) taskstore.Write {
	return taskstore.Write{Key: key, Value: text("x"), MaxRecords: most}
}

// wantFull checks that a batch was refused because of a limit of records.
func (s *store) wantFull(what string, err error, index int, most uint64) {
	s.Helper()
	s.wantCapacity(what, s.wantRefused(what, err, index), taskstore.LimitRecords, most)
}

var batchLimitRules = []rule{
	{
		name: "batch-limits/creates",
		text: "The creates of a batch count toward the limit of records, each those before it; a batch beyond the limit changes no record.",
		check: func(t *trial) {
			s := t.limited(3, 0).batching()
			owner := newOwner()
			x := text("x")
			s.wantFull("4 creates", s.batch(at(0, of(owner, "a"), x), at(0, of(owner, "b"), x), whatever(of(owner, "c"), x), whatever(of(owner, "d"), x)), 3, 3)
			s.wantTasks("list", s.mustList(of(owner, "")), owner)
			s.mustPut(of(owner, "a"), x)
			s.wantFull("3 creates beside a record", s.batch(at(1, of(owner, "a"), x), at(0, of(owner, "b"), x), at(0, of(owner, "c"), x), at(0, of(owner, "d"), x), at(7, of(owner, "e"), x)), 3, 3)
			s.wantRecord(of(owner, "a"), 1, x)
			s.mustBatch(at(1, of(owner, "a"), x), at(0, of(owner, "b"), x), at(0, of(owner, "c"), x))
			s.wantFull("a create at the limit", s.batch(at(0, of(owner, "d"), x)), 0, 3)
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "a", "b", "c")
		},
	},
	{
		name: "batch-limits/room",
		text: "Writes count in their order: one that removes a record makes room for a later create, for one, and for no earlier one.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			gone := until("x", s.now().Add(-2*time.Second))
			x := text("x")
			one, two := of(owner, "task-0"), of(owner, "task-1")
			s.wantFull("a removal after the create", s.batch(at(0, of(owner, "new"), x), at(1, one, gone)), 0, 3)
			s.wantFull("a removal between creates", s.batch(at(1, one, gone), at(0, of(owner, "new"), x), at(0, of(owner, "more"), x), at(1, two, gone)), 2, 3)
			s.wantFull("a removal of no record", s.batch(at(0, of(owner, "none"), gone), whatever(of(owner, "nil"), gone), at(0, of(owner, "new"), x)), 2, 3)
			s.wantFull("a removal in another collection", s.batch(at(0, in(owner, "one", "task"), gone), at(0, of(owner, "new"), x)), 1, 3)
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "task-0", "task-1", "task-2")
			s.mustBatch(at(1, one, gone), whatever(two, gone), at(0, of(owner, "new"), x), whatever(of(owner, "more"), x))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "task-2", "new", "more")
			s.mustBatch(at(0, of(owner, "past"), gone), at(1, of(owner, "new"), x))
			_, err := s.Put(t.ctx, of(owner, "fourth"), x)
			s.wantCapacity("Put", err, taskstore.LimitRecords, 3)
		},
	},
	{
		name: "batch-limits/collections",
		text: "The creates of a batch count toward the limit of their own collection.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			x := text("x")
			one := func(task string) taskstore.Write { return at(0, in(owner, "one", task), x) }
			other := func(task string) taskstore.Write { return at(0, in(owner, "other", task), x) }
			s.mustBatch(one("a"), other("a"), one("b"), other("b"))
			s.wantFull("a create too many", s.batch(other("c"), one("c"), one("d"), other("d")), 2, 3)
			s.mustBatch(other("c"), one("c"), at(1, of(owner, "task-0"), x))
			s.wantFull("a create in the full default collection", s.batch(at(0, in(owner, "third", "a"), x), at(0, of(owner, "new"), x)), 1, 3)
			for _, collection := range []string{"one", "other"} {
				s.wantIn("list", s.mustList(in(owner, collection, "")), in(owner, collection, ""), "a", "b", "c")
			}
			s.wantIn("list", s.mustList(in(owner, "third", "")), in(owner, "third", ""))
		},
	},
	{
		name: "batch-limits/own",
		text: "A write's MaxRecords is the limit of its create in the place of the ctx's and the backend's; a negative one is no limit.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			asked := taskstore.WithRecordLimit(t.ctx, 1)
			key := func(task string) taskstore.Key { return of(owner, task) }
			s.wantFull("beyond a greater limit", s.batch(upTo(4, key("4")), upTo(4, key("5"))), 1, 4)
			s.mustBatch(upTo(4, key("4")))
			s.wantFull("beyond a lesser limit", s.batcher.PutBatch(asked, []taskstore.Write{upTo(2, key("5"))}), 0, 2)
			if err := s.batcher.PutBatch(asked, []taskstore.Write{upTo(6, key("5")), upTo(6, key("6"))}); err != nil {
				t.Errorf("within a limit greater than the ctx's: error %v", err)
			}
			if err := s.batcher.PutBatch(asked, []taskstore.Write{upTo(-1, key("7")), upTo(-5, key("8")), upTo(9, key("9"))}); err != nil {
				t.Errorf("without a limit: error %v", err)
			}
			s.wantFull("each write by its own limit", s.batch(upTo(-1, key("10")), upTo(20, key("11")), upTo(11, key("12")), upTo(-1, key("13"))), 2, 11)
			s.mustBatch(taskstore.Write{Key: key("4"), Value: text("y"), Expected: 1, MaxRecords: 1})
			s.wantRecord(key("4"), 2, text("y"))
			if n := len(s.mustList(of(owner, ""))); n != 9 {
				t.Errorf("list: %d records, want 9", n)
			}
		},
	},
	{
		name: "batch-limits/asked",
		text: "With a MaxRecords of 0 the ctx of WithRecordLimit limits the creates of a batch, and without one the backend's own limit does.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			key := func(task string) taskstore.Key { return of(owner, task) }
			under := func(most int, writes ...taskstore.Write) error {
				return s.batcher.PutBatch(taskstore.WithRecordLimit(t.ctx, most), writes)
			}
			s.wantFull("at the backend's limit", s.batch(upTo(0, key("4"))), 0, 3)
			s.wantFull("beyond the ctx's limit", under(4, upTo(0, key("4")), upTo(0, key("5"))), 1, 4)
			s.wantFull("beyond a ctx's limit that is less", under(2, at(1, key("task-0"), text("y")), upTo(0, key("4"))), 1, 2)
			if err := under(5, upTo(0, key("4")), upTo(0, key("5"))); err != nil {
				t.Errorf("within the ctx's limit: error %v", err)
			}
			for _, none := range []int{0, -1} {
				if err := under(none, upTo(0, key(fmt.Sprint("free", none)))); err != nil {
					t.Errorf("with a ctx without limit: error %v", err)
				}
			}
			s.mustBatch(at(1, key("4"), text("y")), at(1, key("task-0"), text("y")))
		},
	},
	{
		name: "batch-limits/first",
		text: "The error of a batch is for the first write in order that is refused, be it for its version or for a limit.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			x := text("x")
			there, fresh := of(owner, "task-0"), of(owner, "new")
			s.wantFull("a limit before a conflict", s.batch(at(1, of(owner, "task-1"), x), at(0, fresh, x), at(9, there, x)), 1, 3)
			inner := s.wantRefused("a conflict before a limit", s.batch(at(1, of(owner, "task-1"), x), at(9, there, x), at(0, fresh, x)), 1)
			s.wantConflict(inner, there, 9, 1)
			inner = s.wantRefused("a create of an existing record, at the limit", s.batch(at(0, there, x), at(0, fresh, x)), 0)
			s.wantConflict(inner, there, 0, 1)
		},
	},
	{
		name: "batch-limits/expired",
		text: "No limit counts an expired record, in a batch either.",
		check: func(t *trial) {
			s, owner := t.fullBatching()
			soon := s.now().Add(20 * time.Millisecond)
			s.mustPut(of(owner, "task-0"), until("x", soon))
			s.mustPut(of(owner, "task-1"), until("x", soon))
			s.awaitGone(of(owner, "task-0"))
			s.awaitGone(of(owner, "task-1"))
			x := text("x")
			s.wantFull("3 creates in the room of 2", s.batch(at(0, of(owner, "a"), x), at(0, of(owner, "task-1"), x), at(0, of(owner, "b"), x)), 2, 3)
			s.mustBatch(at(0, of(owner, "a"), x), at(0, of(owner, "task-1"), x))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "task-2", "a", "task-1")
		},
	},
	{
		name: "batch-limits/data",
		text: "A batch with longer Data than the limit is refused with a *BatchError for that write, which unwraps to its *CapacityError, and changes no record.",
		check: func(t *trial) {
			s := t.limited(0, 100).batching()
			k := twenty()
			fits, long := text(strings.Repeat("x", 100)), text(strings.Repeat("y", 101))
			s.mustBatch(at(0, k[0], fits), at(0, k[1], fits))
			for i, writes := range [][]taskstore.Write{
				{at(1, k[0], long), at(1, k[1], fits)},
				{at(1, k[0], fits), whatever(k[1], long), at(0, k[2], fits)},
				{at(1, k[0], fits), at(1, k[1], fits), at(0, k[2], long), at(0, k[3], long)},
			} {
				inner := s.wantRefused("PutBatch", s.batch(writes...), i)
				s.wantCapacity("PutBatch", inner, taskstore.LimitData, 100)
			}
			s.wantRecord(k[0], 1, fits)
			s.wantRecord(k[1], 1, fits)
			s.wantNone(k[2])
		},
	},
}
