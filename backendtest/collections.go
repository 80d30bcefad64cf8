package backendtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

// in names a record of a collection.
func in(owner, collection, task string) taskstore.Key {
	return taskstore.Key{Owner: owner, Collection: collection, Task: task}
}

// wantIn checks that records are these, in this order, and all of prefix's collection.
func (s *store) wantIn(what string, records []taskstore.Record, prefix taskstore.Key, tasks ...string) {
	s.Helper()
	s.wantTasks(what, records, prefix.Owner, tasks...)
	for _, r := range records {
		if r.Key.Collection != prefix.Collection {
			s.Errorf("%s: a record of collection %q, want %q", what, clip(r.Key.Collection), clip(prefix.Collection))
			return
		}
	}
}

// apart opens a backend and returns one task in several collections of an owner.
func (t *trial) apart() (s *store, keys []taskstore.Key) {
	t.Helper()
	owner := newOwner()
	for _, collection := range []string{"", "one", "other"} {
		keys = append(keys, in(owner, collection, "task"))
	}
	return t.open(), keys
}

var collectionRules = []rule{
	{
		name: "collections/get",
		text: "Records in different collections are apart: Get reaches a record only through the collection that it was written to.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, key := range keys {
				for _, later := range keys[i:] {
					s.wantNone(later)
				}
				s.mustPut(key, text(key.Collection))
			}
			for _, key := range keys {
				s.wantRecord(key, 1, text(key.Collection))
			}
		},
	},
	{
		name: "collections/put",
		text: "Put writes to the record of its collection; the same task in another collection is another record.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, key := range keys {
				for v := range taskstore.Version(i + 1) {
					s.wantVersion("Put", s.mustPut(key, text(key.Collection)), v+1)
				}
			}
			for i, key := range keys {
				s.wantRecord(key, taskstore.Version(i+1), text(key.Collection))
			}
		},
	},
	{
		name: "collections/put-if-version",
		text: "PutIfVersion compares the version of the record of its collection, and its conflict names that record.",
		check: func(t *trial) {
			s, keys := t.apart()
			for _, key := range keys {
				_, err := s.PutIfVersion(t.ctx, key, text("x"), 1)
				s.wantConflict(err, key, 1, 0)
				s.wantVersion("create", s.mustCAS(key, text(key.Collection), 0), 1)
				_, err = s.PutIfVersion(t.ctx, key, text("x"), 0)
				s.wantConflict(err, key, 0, 1)
			}
			for _, key := range keys {
				s.wantRecord(key, 1, text(key.Collection))
			}
		},
	},
	{
		name: "collections/delete",
		text: "Delete removes the record of its collection and no other.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, key := range keys {
				s.mustPut(key, text(key.Collection))
				if other := keys[(i+1)%len(keys)]; i+1 < len(keys) && s.mustDelete(other) {
					t.Errorf("Delete of a collection without records reports that there was one")
				}
			}
			for i, key := range keys {
				if !s.mustDelete(key) {
					t.Errorf("Delete reports no record")
				}
				s.wantNone(key)
				for _, other := range keys[i+1:] {
					s.wantRecord(other, 1, text(other.Collection))
				}
			}
		},
	},
	{
		name: "collections/list",
		text: "ListByPrefix returns the records of exactly prefix.Collection, each with its whole key.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, key := range keys {
				s.wantIn("list of no records", s.mustList(in(key.Owner, key.Collection, "")), key)
				key.Task = fmt.Sprint("task-", i)
				s.mustPut(key, text("x"))
			}
			for i, key := range keys {
				for _, prefix := range []string{"", "ta", fmt.Sprint("task-", i)} {
					s.wantIn("list", s.mustList(in(key.Owner, key.Collection, prefix)), key, fmt.Sprint("task-", i))
				}
				s.wantIn("list", s.mustList(in(key.Owner, key.Collection, fmt.Sprint("task-", i+1))), key)
			}
		},
	},
	{
		name: "collections/order",
		text: "The order of creation is each collection's own, and a record that is created again in one keeps its place in the others.",
		check: func(t *trial) {
			s, keys := t.apart()
			tasks := []string{"m", "z", "a", "b"}
			for i := range tasks {
				for j, key := range keys {
					key.Task = tasks[(i+j)%len(tasks)]
					s.mustPut(key, text("x"))
				}
			}
			want := func(j int) []string { return slices.Concat(tasks[j:], tasks[:j]) }
			for j, key := range keys {
				s.wantIn("list", s.mustList(in(key.Owner, key.Collection, "")), key, want(j)...)
			}
			key := in(keys[1].Owner, keys[1].Collection, want(1)[0])
			s.mustDelete(key)
			s.mustPut(key, text("again"))
			s.wantIn("list", s.mustList(in(key.Owner, key.Collection, "")), key, append(want(1)[1:], key.Task)...)
			for _, j := range []int{0, 2} {
				s.wantIn("list", s.mustList(in(key.Owner, keys[j].Collection, "")), keys[j], want(j)...)
			}
		},
	},
	{
		name: "collections/page",
		text: "ListPage returns the records of exactly prefix.Collection.",
		check: func(t *trial) {
			s, keys := t.apart()
			p := s.pager()
			for i := range 10 {
				for j, key := range keys {
					key.Task = fmt.Sprintf("task-%d-%d", j, i)
					s.mustPut(key, text("x"))
				}
			}
			for _, key := range keys {
				prefix := in(key.Owner, key.Collection, "")
				for _, limit := range []int{1, 3, 10, 100} {
					s.wantList("pages", s.walk(p, prefix, limit), s.mustList(prefix))
				}
			}
			s.wantIn("pages of a collection without records", s.walk(p, in(keys[0].Owner, "none", ""), 10), in(keys[0].Owner, "none", ""))
		},
	},
	{
		name: "collections/cursor",
		text: "A cursor that belongs to another collection gives an error that matches ErrInvalidCursor.",
		check: func(t *trial) {
			s, keys := t.apart()
			p := s.pager()
			keys = append(keys, in(keys[0].Owner, "on", "etask"), in(keys[0].Owner, "onetask", "x"))
			for _, key := range keys {
				for i := range 3 {
					s.mustPut(in(key.Owner, key.Collection, fmt.Sprint(key.Task, i)), text("x"))
				}
			}
			for _, mine := range keys {
				for _, task := range []string{"", mine.Task} {
					_, cursor := s.cursorAfter(p, in(mine.Owner, mine.Collection, task))
					for _, theirs := range keys {
						if theirs.Collection == mine.Collection {
							continue
						}
						for _, prefix := range []taskstore.Key{in(theirs.Owner, theirs.Collection, task), in(theirs.Owner, theirs.Collection, theirs.Task)} {
							_, _, err := p.ListPage(t.ctx, prefix, cursor, 10)
							s.wantError("ListPage with the cursor of another collection", err, taskstore.ErrInvalidCursor)
						}
					}
				}
			}
		},
	},
	{
		name: "collections/limit",
		text: "The limit of records is each collection's own.",
		check: func(t *trial) {
			s := t.limited(2, 0)
			owner := newOwner()
			for _, collection := range []string{"one", "", "other"} {
				for i := range 2 {
					s.mustPut(in(owner, collection, fmt.Sprint(i)), text("x"))
				}
			}
			for _, collection := range []string{"", "one", "other"} {
				_, err := s.Put(t.ctx, in(owner, collection, "more"), text("x"))
				s.wantCapacity("Put", err, taskstore.LimitRecords, 2)
				_, err = s.PutIfVersion(taskstore.WithRecordLimit(t.ctx, 1), in(owner, collection, "more"), text("x"), 0)
				s.wantCapacity("PutIfVersion", err, taskstore.LimitRecords, 1)
			}
			s.mustDelete(in(owner, "one", "0"))
			_, err := s.Put(t.ctx, of(owner, "more"), text("x"))
			s.wantCapacity("Put after a delete in another collection", err, taskstore.LimitRecords, 2)
			s.mustPut(in(owner, "one", "more"), text("x"))
		},
	},
	{
		name: "collections/expiry",
		text: "A record that expires takes no record of another collection with it, and neither does CleanupExpired.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, expires := range keys {
				for _, key := range keys {
					s.mustPut(key, text("stays"))
				}
				s.mustPut(expires, until("x", s.now().Add(20*time.Millisecond)))
				s.awaitGone(expires)
				if _, err := s.CleanupExpired(t.ctx); err != nil {
					t.Errorf("CleanupExpired: %v", err)
				}
				for j, key := range keys {
					if j == i {
						s.wantNone(key)
						s.wantIn("list", s.mustList(in(key.Owner, key.Collection, "")), key)
						continue
					}
					s.wantRecord(key, s.mustGet(key).Version, text("stays"))
					s.wantIn("list", s.mustList(in(key.Owner, key.Collection, "")), key, key.Task)
				}
			}
		},
	},
	{
		name: "collections/owners",
		text: "Owners are isolated: a collection of the same name of another owner is another collection.",
		check: func(t *trial) {
			s := t.open()
			mine, theirs := in(newOwner(), "one", "task"), in(newOwner(), "one", "task")
			s.mustPut(mine, text("mine"))
			s.wantNone(theirs)
			s.wantIn("list", s.mustList(in(theirs.Owner, "one", "")), theirs)
			s.wantVersion("create", s.mustCAS(theirs, text("theirs"), 0), 1)
			s.mustPut(theirs, text("theirs"))
			s.wantRecord(mine, 1, text("mine"))
			s.mustDelete(theirs)
			s.wantIn("list", s.mustList(in(mine.Owner, "one", "")), mine, mine.Task)
		},
	},
	{
		name: "collections/watch",
		text: "A watch belongs to one collection of one owner: it yields hints of no other, and its hints have the whole key.",
		check: func(t *trial) {
			s, keys := t.apart()
			for i, mine := range keys {
				prefix := in(mine.Owner, mine.Collection, "")
				w := s.watch(prefix)
				for j, theirs := range keys {
					if j != i {
						s.mustPut(theirs, text("x"))
						s.mustDelete(theirs)
					}
				}
				w.wantHint("a Put", mine, func() taskstore.Version { return s.mustPut(mine, text("x")) })
				w.wantHint("a Delete", mine, func() taskstore.Version { s.mustDelete(mine); return 0 })
				for _, c := range w.seen() {
					if c.Resync && c.Key != prefix || !c.Resync && c.Key != mine {
						t.Errorf("a change in collection %q, want %q; Resync %t", clip(c.Key.Collection), mine.Collection, c.Resync)
					}
				}
				w.stop()
			}
		},
	},
	{
		name: "collections/any-bytes",
		text: "A collection is an opaque byte string in which no character is special; it need not be UTF-8. The empty one is the default, and no other name is.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			names := slices.Concat(similar("Collection"), tricky, []string{"", "default", "tasks", "idx", "exp", "ch", "null", "0"})
			slices.Sort(names)
			names = slices.Compact(names)
			for _, name := range names {
				s.wantVersion("create", s.mustCAS(in(owner, name, "task"), text(name), 0), 1)
			}
			for i, name := range names {
				key := in(owner, name, "task")
				s.wantRecord(key, 1, text(name))
				records := s.mustList(in(owner, name, ""))
				s.wantIn(fmt.Sprintf("list of %q", clip(name)), records, key, "task")
				if i%2 == 1 && !s.mustDelete(key) {
					t.Errorf("Delete of a record that was just written reports no record")
				}
			}
			for i, name := range names {
				if key := in(owner, name, "task"); i%2 == 1 {
					s.wantNone(key)
				} else {
					s.wantRecord(key, 1, text(name))
				}
			}
		},
	},
	{
		name: "collections/no-separator",
		text: "A Key has three parts: no two keys are one record because they read the same when joined.",
		check: func(t *trial) {
			s := t.open()
			n := newOwner()
			for i, sep := range []string{"", ":", "::", "/", "|", ",", ".", "-", "_", "#", "%", "}", "}:", ":{", " ", "\x00", "\n", "\xff", "=", "\\"} {
				// The digit makes the keys of different separators different.
				a, b, c := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), fmt.Sprintf("c%d", i)
				alike := []taskstore.Key{
					in(n, a+sep+b, c), in(n, a, b+sep+c), in(n, "", a+sep+b+sep+c), in(n+sep+a, b, c), in(n+sep+a, "", b+sep+c), in(n, "", strings.Join([]string{a, b, c}, "")),
				}
				if sep == "" {
					alike = alike[:5]
				}
				for j, key := range alike {
					s.wantVersion("a create beside keys that join the same", s.mustPut(key, text(fmt.Sprint(j))), 1)
				}
				for j, key := range alike {
					s.wantRecord(key, 1, text(fmt.Sprint(j)))
				}
				s.wantIn("list", s.mustList(in(n, a, "")), alike[1], alike[1].Task)
				s.wantIn("list", s.mustList(in(n, a+sep+b, "")), alike[0], alike[0].Task)
			}
		},
	},
	{
		name: "collections/long",
		text: "A collection of more than MaxKeyLength bytes gives a *KeyError, which matches ErrInvalidKey, from every method; one of MaxKeyLength is allowed.",
		check: func(t *trial) {
			s := t.open()
			s.wantInvalid(in(newOwner(), padded("long", taskstore.MaxKeyLength+1), "task"), false)
			key := in(padded(newOwner(), taskstore.MaxKeyLength), padded("long", taskstore.MaxKeyLength), padded("task", taskstore.MaxKeyLength))
			s.wantVersion("create", s.mustCAS(key, text("1"), 0), 1)
			s.wantRecord(key, 1, text("1"))
			s.wantIn("list", s.mustList(key), key, key.Task)
			if _, ok := taskstore.As[taskstore.Watcher](s.StorageBackend); ok {
				w := s.watch(key)
				w.wantHint("a Put", key, func() taskstore.Version { return s.mustPut(key, text("2")) })
				w.stop()
			}
		},
	},
}
