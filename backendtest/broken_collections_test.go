package backendtest

import (
	"slices"
	"strings"

	"github.com/taskstore/taskstore"
)

// noCollection reads a key as a backend does that knows owners and tasks only.
func noCollection(k key) key { return of(k.Owner, k.Task) }

// renamed makes every method use another collection than the one that it is given.
func renamed(change func(collection string) string) func(f *fake) {
	return rewriteBoth(func(k key) key {
		k.Collection = change(k.Collection)
		return k
	})
}

// joined makes one part of a key of its collection and its task.
func joined(join func(k key) string) func(f *fake) {
	return rewrite(func(k key) key { return of(k.Owner, join(k)) })
}

var brokenCollections = []breach{
	{"collections/get", "Get knows no collections", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) { return f.m.Get(ctx, noCollection(k)) }
	}},
	{"collections/put", "Put knows no collections", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) { return f.m.Put(ctx, noCollection(k), v) }
	}},
	{"collections/put-if-version", "PutIfVersion knows no collections", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, noCollection(k), v, e)
		}
	}},
	{"collections/put-if-version", "a conflict names the record of the default collection", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if conflict, ok := err.(*taskstore.VersionConflictError); ok {
				conflict.Key = noCollection(k)
			}
			return made, err
		}
	}},
	{"collections/delete", "Delete knows no collections", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) { return f.m.Delete(ctx, noCollection(k)) }
	}},
	{"collections/delete", "Delete removes the task from every collection", func(f *fake) {
		f.del = func(ctx ctxt, k key) (existed bool, err error) {
			for _, other := range f.keys(&f.first) {
				if other.Owner == k.Owner && other.Task == k.Task {
					f.m.Delete(ctx, other)
					existed = true
				}
			}
			return existed, nil
		}
	}},
	{"collections/list collections/order collections/any-bytes", "ListByPrefix lists every collection", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) { return f.everyCollection(ctx, prefix), nil }
	}},
	{"collections/list collections/any-bytes", "a listed key has no collection", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			for i := range records {
				records[i].Key = noCollection(records[i].Key)
			}
			return records, err
		}
	}},
	{"collections/list", "the default collection lists all", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			if prefix.Collection == "" {
				return f.everyCollection(ctx, prefix), nil
			}
			return f.m.ListByPrefix(ctx, prefix)
		}
	}},
	{"collections/order", "the order is by the task's first collection", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			place := make(map[string]int)
			for i, k := range f.keys(&f.first) {
				if _, seen := place[k.Task]; !seen {
					place[k.Task] = i
				}
			}
			slices.SortStableFunc(records, func(a, b entry) int { return place[a.Key.Task] - place[b.Key.Task] })
			return records, err
		}
	}},
	{"collections/page", "ListPage lists every collection", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, _ string, _ int) ([]entry, string, error) {
			return f.everyCollection(ctx, prefix), "", nil
		}
	}},
	{"collections/page collections/cursor", "ListPage knows no collections", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(ctx, noCollection(prefix), cursor, limit)
		}
	}},
	{"collections/cursor", "a cursor is a place in any collection", withOffsets(plainList)},
	{"collections/limit", "the limit is the owner's", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		return create && len(f.everyCollection(ctx, of(k.Owner, ""))) >= taskstore.RecordLimit(ctx, f.records)
	})},
	{"collections/limit", "only the default collection has a limit", counting(func(f *fake, ctx ctxt, k key, create bool) bool {
		return create && k.Collection == "" && f.has(ctx, k.Owner) >= taskstore.RecordLimit(ctx, f.records)
	})},
	{"collections/expiry", "the task of an expired record is gone everywhere", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			for _, other := range f.keys(&f.first) {
				if _, expired := f.expired(other); expired && other.Owner == k.Owner && other.Task == k.Task {
					return entry{}, taskstore.ErrNotFound
				}
			}
			return f.m.Get(ctx, k)
		}
	}},
	{"collections/expiry", "CleanupExpired empties collections with expired records", func(f *fake) {
		f.cleanup = func(ctx ctxt) (removed int, err error) {
			for _, k := range f.keys(&f.first) {
				for _, other := range f.keys(&f.first) {
					if _, expired := f.expired(other); expired && other.Owner == k.Owner {
						f.m.Delete(ctx, k)
					}
				}
			}
			return 0, nil
		}
	}},
	{"collections/owners", "a collection is everybody's", rewriteBoth(func(k key) key {
		if k.Collection != "" {
			k.Owner = "all"
		}
		return k
	})},
	{"collections/watch", "Watch knows no collections", func(f *fake) {
		f.watch = func(ctx ctxt, prefix key) seq { return f.rewatch(ctx, noCollection(prefix)) }
	}},
	{"collections/watch collections/long", "a hint's key has no collection", onHints(func(c change) []change {
		c.Key = noCollection(c.Key)
		return []change{c}
	})},
	{"collections/any-bytes", "names are made UTF-8", renamed(func(c string) string { return strings.ToValidUTF8(c, "\ufffd") })},
	{"collections/any-bytes", "names are trimmed", renamed(strings.TrimSpace)},
	{"collections/any-bytes", "names are one whatever their case", renamed(strings.ToLower)},
	{"collections/any-bytes", "names end at a NUL", renamed(func(c string) string { name, _, _ := strings.Cut(c, "\x00"); return name })},
	{"collections/any-bytes", "the default collection has a name", renamed(func(c string) string {
		if c == "" {
			return "default"
		}
		return c
	})},
	{"collections/no-separator", "collection and task are joined by a colon", joined(func(k key) string { return k.Collection + ":" + k.Task })},
	{"collections/no-separator", "collection and task are joined by a NUL", joined(func(k key) string { return k.Collection + "\x00" + k.Task })},
	{"collections/no-separator", "only a named collection is joined", joined(func(k key) string {
		if k.Collection == "" {
			return k.Task
		}
		return k.Collection + "/" + k.Task
	})},
	{"collections/no-separator", "owner and collection are joined", rewrite(func(k key) key { return of(k.Owner+"|"+k.Collection, k.Task) })},
	{"collections/long", "long names are cut", renamed(func(c string) string { return cutTo(taskstore.MaxKeyLength, c) })},
	{"collections/long", "the greatest length is 255", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if len(k.Collection) > 255 {
				return 0, &taskstore.KeyError{Key: k, Reason: "the collection is too long"}
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
}

// everyCollection lists over all collections of the owner.
func (f *fake) everyCollection(ctx ctxt, prefix key) (records []entry) {
	seen := make(map[string]bool)
	for _, k := range f.keys(&f.first) {
		if k.Owner == prefix.Owner && !seen[k.Collection] {
			seen[k.Collection] = true
			more, _ := f.m.ListByPrefix(ctx, in(k.Owner, k.Collection, prefix.Task))
			records = append(records, more...)
		}
	}
	return records
}
