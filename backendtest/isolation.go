package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskstore/taskstore"
)

// isolated returns a backend with one record, and the key of the same task under
// another owner.
func (t *trial) isolated() (s *store, mine, theirs taskstore.Key) {
	t.Helper()
	s = t.open()
	mine, theirs = newKey(), newKey()
	s.mustPut(mine, text("mine"))
	return s, mine, theirs
}

var isolationRules = []rule{
	{
		name: "isolation/get",
		text: "Get reaches a record only through the owner that it was written with.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			s.wantNone(theirs)
			s.wantRecord(mine, 1, text("mine"))
		},
	},
	{
		name: "isolation/put",
		text: "Put reaches a record only through the owner that it was written with: another owner's task of the same name is another record.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			s.wantVersion("Put by another owner", s.mustPut(theirs, text("theirs")), 1)
			s.wantRecord(mine, 1, text("mine"))
			s.wantRecord(theirs, 1, text("theirs"))
		},
	},
	{
		name: "isolation/put-if-version",
		text: "PutIfVersion reaches a record only through the owner that it was written with.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			_, err := s.PutIfVersion(t.ctx, theirs, text("theirs"), 1)
			s.wantConflict(err, theirs, 1, 0)
			s.wantVersion("create by another owner", s.mustCAS(theirs, text("theirs"), 0), 1)
			s.wantRecord(mine, 1, text("mine"))
			s.wantRecord(theirs, 1, text("theirs"))
		},
	},
	{
		name: "isolation/delete",
		text: "Delete reaches a record only through the owner that it was written with.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			if s.mustDelete(theirs) {
				t.Errorf("Delete by another owner reports that there was a record")
			}
			s.wantRecord(mine, 1, text("mine"))
		},
	},
	{
		name: "isolation/list",
		text: "ListByPrefix returns the records of exactly prefix.Owner.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			s.wantTasks("another owner's list", s.mustList(of(theirs.Owner, "")), theirs.Owner)
			s.mustPut(of(theirs.Owner, "other"), text("theirs"))
			s.wantTasks("the owner's list", s.mustList(of(mine.Owner, "")), mine.Owner, mine.Task)
			s.wantTasks("another owner's list", s.mustList(of(theirs.Owner, "")), theirs.Owner, "other")
		},
	},
	{
		name: "isolation/page",
		text: "ListPage returns the records of exactly prefix.Owner.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			p := s.pager()
			s.wantTasks("another owner's pages", s.walk(p, of(theirs.Owner, ""), 10), theirs.Owner)
			s.mustPut(of(theirs.Owner, "other"), text("theirs"))
			s.wantTasks("the owner's pages", s.walk(p, of(mine.Owner, ""), 10), mine.Owner, mine.Task)
			s.wantTasks("another owner's pages", s.walk(p, of(theirs.Owner, ""), 10), theirs.Owner, "other")
		},
	},
	{
		name: "isolation/watch",
		text: "Watch yields hints about the records that ListByPrefix would list, of no other owner's.",
		check: func(t *trial) {
			s, mine, theirs := t.isolated()
			w := s.watch(of(mine.Owner, ""))
			defer w.stop()
			s.mustPut(theirs, text("theirs"))
			s.mustCAS(theirs, text("theirs"), 1)
			s.mustDelete(theirs)
			// Hints about theirs arrive before the hint of this write.
			w.wantHint("Put", mine, func() taskstore.Version { return s.mustPut(mine, text("mine")) })
			for _, c := range w.seen() {
				if c.Key.Owner != mine.Owner {
					t.Errorf("a change of another owner's: version %d, Resync %t", c.Version, c.Resync)
				}
			}
		},
	},
	{
		name:  "isolation/any-bytes",
		text:  "Owners and tasks are opaque byte strings in which no character is special; they need not be UTF-8.",
		check: checkAnyBytes,
	},
	{
		name: "isolation/no-separator",
		text: "A Key is a pair: no two keys are one record because they read the same when joined.",
		check: func(t *trial) {
			s := t.open()
			n := newOwner()
			separators := []string{"", ":", "::", "/", "|", ",", ".", "-", "_", "#", "%", "{", "}", "}:", ":{", " ", "\x00", "\n", "\xff"}
			for i, sep := range separators {
				// The digit makes the pairs of different separators different.
				a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
				one, other := of(n+sep+a, b), of(n, a+sep+b)
				s.mustPut(one, text("one"))
				s.wantNone(other)
				s.wantVersion("a create beside a key that joins the same", s.mustPut(other, text("other")), 1)
				s.wantRecord(one, 1, text("one"))
				s.wantRecord(other, 1, text("other"))
				s.wantTasks("list", s.mustList(of(one.Owner, "")), one.Owner, b)
			}
			if got := len(s.mustList(of(n, ""))); got != len(separators) {
				t.Errorf("list: %d records, want %d", got, len(separators))
			}
			// The example of the documentation, with a random part.
			one, other := of(n+":urn:a", "b:c"), of(n+":urn", "a:b:c")
			s.mustPut(one, text("one"))
			s.wantNone(other)
			s.mustPut(other, text("other"))
			s.wantRecord(one, 1, text("one"))
		},
	},
	{
		name: "isolation/similar-owners",
		text: "No method reaches a record except through the exact owner that it was written with.",
		check: func(t *trial) {
			s := t.open()
			owners := similar(newOwner())
			for i, owner := range owners {
				s.wantVersion("create", s.mustPut(of(owner, "task"), text(owner)), 1)
				s.wantTasks("list", s.mustList(of(owner, "")), owner, "task")
				s.wantTasks("list with a prefix", s.mustList(of(owner, "ta")), owner, "task")
				if i%2 == 1 && !s.mustDelete(of(owner, "task")) {
					t.Errorf("Delete of a record that was just written reports no record")
				}
			}
			for i, owner := range owners {
				if i%2 == 1 {
					s.wantNone(of(owner, "task"))
				} else {
					s.wantRecord(of(owner, "task"), 1, text(owner))
				}
			}
		},
	},
	{
		name: "isolation/similar-tasks",
		text: "A task keeps every byte; no byte is special.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			tasks := similar("Task")
			for _, task := range tasks {
				s.wantVersion("create", s.mustPut(of(owner, task), text(task)), 1)
			}
			for _, task := range tasks {
				s.wantRecord(of(owner, task), 1, text(task))
			}
			s.wantTasks("list", s.mustList(of(owner, "")), owner, tasks...)
		},
	},
}

// similar returns strings that a careless backend takes for n or for each other.
func similar(n string) []string {
	return []string{
		n, n + "2", n + ":", n + "*", n + "?", n + "[a]", n + "a", n + `\`, n + "%", n + "_",
		n + " ", " " + n, n + "\n", n + "\x00", "\x00" + n, n + "\x00a",
		strings.ToLower(n), strings.ToUpper(n), n[:len(n)-1], n[:len(n)-1] + "?", n[:len(n)-1] + "*",
		n + "\xff", n + "\xfe", n + "\ufffd", n + "\u00e9", n + "e\u0301",
		n + "/", n + "/.", n + "/../" + n, n + "%20", n + "+", "{" + n + "}", "{" + n, n + "}",
		`"` + n + `"`, "'" + n + "'",
	}
}

// tricky are owners and tasks that break naive key formats.
var tricky = []string{
	"a", "a:b", "b:c", "a:b:c", "a}b", "{", "}", "{}", "}{", "{a}", "auth0|x", "urn:x:y", "urn", "%", "%3A", "+",
	" ", "\x00", "\n", "\r\n", "\xff\xfe", "\ufffd", strings.Repeat("k", taskstore.MaxKeyLength),
	"*", "?", "[a]", `\`, "o", "o2", "0", "-1", "nil", "..", "/", `"`, "'",
}

// checkAnyBytes is the only rule without random owners: a random part would make some of
// these harmless.
func checkAnyBytes(t *trial) {
	s := t.open()
	data := func(owner, task string) taskstore.Value { return text(fmt.Sprintf("%q of %q", task, owner)) }
	each := func(f func(key taskstore.Key)) {
		for _, owner := range tricky {
			for _, task := range tricky {
				f(of(owner, task))
			}
		}
	}
	ctx := context.WithoutCancel(t.ctx)
	t.Cleanup(func() { each(func(key taskstore.Key) { s.Delete(ctx, key) }) })

	each(func(key taskstore.Key) { s.mustPut(key, data(key.Owner, key.Task)) })
	each(func(key taskstore.Key) { s.wantRecord(key, 1, data(key.Owner, key.Task)) })
	for _, owner := range tricky {
		records := s.mustList(of(owner, ""))
		s.wantTasks(fmt.Sprintf("list of %q", clip(owner)), records, owner, tricky...)
		for _, r := range records {
			s.wantSame("list", r, taskstore.Record{Key: r.Key, Version: 1, Value: data(owner, r.Key.Task)})
		}
	}
	gone := of("a", "b:c")
	if !s.mustDelete(gone) {
		t.Errorf("Delete of a written record reports no record")
	}
	each(func(key taskstore.Key) {
		if key == gone {
			s.wantNone(key)
			return
		}
		s.wantRecord(key, 1, data(key.Owner, key.Task))
	})
	rest := slices.DeleteFunc(slices.Clone(tricky), func(task string) bool { return task == gone.Task })
	s.wantTasks("list after a delete", s.mustList(of(gone.Owner, "")), gone.Owner, rest...)
}
