package backendtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

var listingRules = []rule{
	{
		name: "list/records",
		text: "ListByPrefix returns records as Get does: with key, version, data and expiry.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			s.mustPut(of(owner, "a"), text("first"))
			s.mustPut(of(owner, "b"), until("\x00\xff", at))
			s.mustPut(of(owner, "c"), taskstore.Value{})
			s.mustPut(of(owner, "a"), text("second"))
			want := []taskstore.Record{
				{Key: of(owner, "a"), Version: 2, Value: text("second")},
				{Key: of(owner, "b"), Version: 1, Value: until("\x00\xff", at)},
				{Key: of(owner, "c"), Version: 1},
			}
			s.wantList("list", s.mustList(of(owner, "")), want)
			for _, r := range want {
				s.wantList("list of one task", s.mustList(r.Key), []taskstore.Record{r})
			}
		},
	},
	{
		name: "list/order",
		text: "ListByPrefix lists in order of creation, oldest first.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			// Neither sorted nor reversed, and some created in one millisecond.
			tasks := []string{"m", "z", "a", "M", "10", "9", "zz", "b", "\x00", "\xff", "aa", "Z"}
			for _, task := range tasks {
				s.mustPut(of(owner, task), text(task))
			}
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
			owner = newOwner()
			for _, task := range tasks {
				s.mustCAS(of(owner, task), text(task), 0)
			}
			s.wantTasks("list of the records that PutIfVersion created", s.mustList(of(owner, "")), owner, tasks...)
		},
	},
	{
		name: "list/order-after-update",
		text: "An update does not change a record's place in the order of creation.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			tasks := []string{"a", "b", "c", "d"}
			for _, task := range tasks {
				s.mustPut(of(owner, task), text(task))
			}
			at := s.now().Add(time.Hour)
			s.mustPut(of(owner, "b"), text("new"))
			s.mustCAS(of(owner, "a"), text("new"), 1)
			s.mustPut(of(owner, "c"), until("new", at))
			s.mustPut(of(owner, "c"), until("new", at.Add(time.Hour)))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
		},
	},
	{
		name: "list/order-after-delete",
		text: "A record that is deleted and created again is the youngest.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			for _, task := range []string{"a", "b", "c"} {
				s.mustPut(of(owner, task), text(task))
			}
			s.mustDelete(of(owner, "a"))
			s.mustPut(of(owner, "a"), text("again"))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "b", "c", "a")
			s.mustPut(of(owner, "b"), until("", s.now().Add(-2*time.Second)))
			s.mustPut(of(owner, "b"), text("again"))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "c", "a", "b")
		},
	},
	{
		name: "list/prefix",
		text: "ListByPrefix returns the records whose task starts with prefix.Task.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			for _, task := range []string{"run:1", "job:1", "run:2", "run", "ru", "RUN:1", "xrun:1", "run:10"} {
				s.mustPut(of(owner, task), text(task))
			}
			for prefix, want := range map[string][]string{
				"run:":   {"run:1", "run:2", "run:10"},
				"run:1":  {"run:1", "run:10"},
				"run":    {"run:1", "run:2", "run", "run:10"},
				"run:10": {"run:10"},
				"job":    {"job:1"},
				"R":      {"RUN:1"},
				"un":     nil,
			} {
				s.wantTasks(fmt.Sprintf("list with prefix %q", prefix), s.mustList(of(owner, prefix)), owner, want...)
			}
		},
	},
	{
		name: "list/prefix-bytes",
		text: "No character of a prefix is special.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			tasks := slices.Concat(tricky, []string{"*x", "?x", "[a]x", `\x`, `\*`, "[^a]", "{a}x", "\x00x", "\xff", "\xff\xfex", "%3Ax", "\nx"})
			for _, task := range tasks {
				s.mustPut(of(owner, task), text(task))
			}
			for _, prefix := range slices.Concat(tasks, []string{"[", "[^", "[a", "a?", "a*", "u", "\r", "\xef", "zz"}) {
				s.wantTasks(fmt.Sprintf("list with prefix %q", clip(prefix)), s.mustList(of(owner, prefix)), owner, startingWith(tasks, prefix)...)
			}
		},
	},
	{
		name: "list/none",
		text: "No match is an empty list, and no error.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.wantTasks("list of an owner without records", s.mustList(of(key.Owner, "")), key.Owner)
			s.mustPut(key, text("x"))
			s.wantTasks("list of a prefix without records", s.mustList(of(key.Owner, "other")), key.Owner)
			s.mustDelete(key)
			s.wantTasks("list of an owner without records any more", s.mustList(of(key.Owner, "")), key.Owner)
		},
	},
	{
		name: "list/many",
		text: "ListByPrefix holds all of an owner's records at once, however many.",
		check: func(t *trial) {
			s := t.open()
			owner, tasks := s.fill(1100)
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
			s.wantTasks("list with prefix", s.mustList(of(owner, "task-1")), owner, startingWith(tasks, "task-1")...)
		},
	},
	{
		name: "list/while-written",
		text: "A record that lived through the whole call is in the list once, and no record is in it twice.",
		check: func(t *trial) {
			s := t.open()
			s.churn(func(c *churning) {
				for c.next() {
					c.wantStaying("list", s.mustList(of(c.owner, "")))
				}
			})
		},
	},
	{
		name: "list/one-life",
		text: "No key is in a list twice: of one that is deleted and created again meanwhile it has one life.",
		check: func(t *trial) {
			s := t.open()
			s.churn(func(c *churning) {
				for c.next() {
					s.wantKeysOnce("list", s.mustList(of(c.owner, "")))
				}
			})
		},
	},
}

func (s *store) wantKeysOnce(what string, records []taskstore.Record) {
	s.Helper()
	seen := make(map[taskstore.Key]bool, len(records))
	for _, r := range records {
		if seen[r.Key] {
			s.Errorf("%s: the task %q is there twice", what, clip(r.Key.Task))
		}
		seen[r.Key] = true
	}
}

func (s *store) wantList(what string, got, want []taskstore.Record) {
	s.Helper()
	if len(got) != len(want) {
		s.Errorf("%s: %d records, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		s.wantSame(what, got[i], want[i])
	}
}

// fill creates n records of a new owner, one after the other.
func (s *store) fill(n int) (owner string, tasks []string) {
	s.Helper()
	owner = newOwner()
	for i := range n {
		task := fmt.Sprintf("task-%d", i)
		s.mustPut(of(owner, task), text(task))
		tasks = append(tasks, task)
	}
	return owner, tasks
}

func startingWith(tasks []string, prefix string) (list []string) {
	for _, task := range tasks {
		if strings.HasPrefix(task, prefix) {
			list = append(list, task)
		}
	}
	return list
}
