package backendtest

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/taskstore/taskstore"
)

// rewrite makes every method use another key than the one that it is given.
func rewrite(change func(key) key) func(f *fake) {
	return func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, change(k))
			r.Key = k
			return r, err
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) { return f.m.Put(ctx, change(k), v) }
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, change(k), v, e)
		}
		f.del = func(ctx ctxt, k key) (bool, error) { return f.m.Delete(ctx, change(k)) }
	}
}

// rewritePrefix does the same to the methods that take a prefix.
func rewritePrefix(change func(key) key) func(f *fake) {
	return func(f *fake) {
		f.list = func(ctx ctxt, k key) ([]entry, error) { return f.m.ListByPrefix(ctx, change(k)) }
		f.page = func(ctx ctxt, k key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(ctx, change(k), cursor, limit)
		}
		f.watch = func(ctx ctxt, k key) iter.Seq2[taskstore.Change, error] { return f.m.Watch(ctx, change(k)) }
	}
}

// rewriteBoth is both.
func rewriteBoth(change func(key) key) func(f *fake) {
	return func(f *fake) {
		rewrite(change)(f)
		rewritePrefix(change)(f)
	}
}

// sameTask returns the key that was first written with the task of k.
func (f *fake) sameTask(k key) key {
	for _, other := range f.keys(&f.first) {
		if other.Task == k.Task {
			return other
		}
	}
	return k
}

// everyOwner lists over all owners.
func (f *fake) everyOwner(ctx ctxt, prefix key) (records []entry, err error) {
	seen := make(map[string]bool)
	for _, k := range append(f.keys(&f.first), prefix) {
		if !seen[k.Owner] {
			more, err := f.m.ListByPrefix(ctx, of(k.Owner, prefix.Task))
			if err != nil {
				return nil, err
			}
			records = append(records, more...)
		}
		seen[k.Owner] = true
	}
	return records, nil
}

func cutTo(n int, s string) string { return s[:min(n, len(s))] }

var brokenKeys = []breach{
	{"isolation/get", "Get looks for the task only", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) { return f.m.Get(ctx, f.sameTask(k)) }
	}},
	{"isolation/put", "Put looks for the task only", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) { return f.m.Put(ctx, f.sameTask(k), v) }
	}},
	{"isolation/put-if-version", "PutIfVersion looks for the task only", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, f.sameTask(k), v, e)
		}
	}},
	{"isolation/delete", "Delete looks for the task only", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) { return f.m.Delete(ctx, f.sameTask(k)) }
	}},
	{"isolation/list", "ListByPrefix lists everybody's", func(f *fake) { f.list = f.everyOwner }},
	{"isolation/page", "ListPage lists everybody's", func(f *fake) {
		f.page = func(ctx ctxt, k key, _ string, _ int) ([]entry, string, error) {
			records, err := f.everyOwner(ctx, k)
			return records, "", err
		}
	}},
	{"isolation/watch", "Watch tells of another owner", func(f *fake) {
		f.watch = alterHints(f, func(c change) []change {
			return []change{{Key: of(c.Key.Owner+"2", c.Key.Task), Version: 1}, c}
		})
	}},
	{"isolation/any-bytes", "keys are made UTF-8", rewriteBoth(func(k key) key {
		return of(strings.ToValidUTF8(k.Owner, "\ufffd"), strings.ToValidUTF8(k.Task, "\ufffd"))
	})},
	{"isolation/any-bytes", "a hash tag is cut out of the owner", rewrite(func(k key) key {
		if _, tag, ok := strings.Cut(k.Owner, "{"); ok {
			if tag, _, ok := strings.Cut(tag, "}"); ok && tag != "" {
				return of(tag, k.Task)
			}
		}
		return k
	})},
	{"isolation/any-bytes isolation/similar-owners", "owners are trimmed", rewrite(func(k key) key {
		return of("o"+strings.TrimSpace(k.Owner), k.Task)
	})},
	{"isolation/no-separator", "owner and task are joined by a colon", rewrite(func(k key) key {
		return of("all", k.Owner+":"+k.Task)
	})},
	{"isolation/no-separator", "owner and task are joined by a NUL", rewrite(func(k key) key {
		return of("all", k.Owner+"\x00"+k.Task)
	})},
	{"isolation/similar-owners", "owners are one whatever their case", rewriteBoth(func(k key) key {
		return of(strings.ToLower(k.Owner), k.Task)
	})},
	{"isolation/similar-owners", "the owner is a prefix too", func(f *fake) {
		f.list = func(ctx ctxt, k key) ([]entry, error) {
			records, err := f.everyOwner(ctx, k)
			return keep(records, func(r entry) bool { return strings.HasPrefix(r.Key.Owner, k.Owner) }), err
		}
	}},
	{"isolation/similar-tasks", "tasks end at a NUL", rewrite(func(k key) key {
		task, _, _ := strings.Cut(k.Task, "\x00")
		return of(k.Owner, task)
	})},
	{"isolation/similar-tasks", "tasks are trimmed", rewrite(func(k key) key { return of(k.Owner, strings.TrimSpace(k.Task)) })},

	{"keys/empty-owner", "an empty owner is the default one", rewriteBoth(func(k key) key {
		if k.Owner == "" {
			k.Owner = "default"
		}
		return k
	})},
	{"keys/empty-task", "an empty task is the default one", rewrite(func(k key) key {
		if k.Task == "" {
			k.Task = "default"
		}
		return k
	})},
	{"keys/long-owner", "long owners are cut", rewriteBoth(func(k key) key { return of(cutTo(taskstore.MaxKeyLength, k.Owner), k.Task) })},
	{"keys/long-task", "long tasks are cut", rewriteBoth(func(k key) key { return of(k.Owner, cutTo(taskstore.MaxKeyLength, k.Task)) })},
	{"keys/long-owner keys/long-task", "only writes check the key", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if errors.Is(err, taskstore.ErrInvalidKey) {
				err = taskstore.ErrNotFound
			}
			return r, err
		}
	}},
	{"keys/empty-owner keys/empty-task keys/long-owner keys/long-task", "no *KeyError", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed, err := f.m.Delete(ctx, k)
			if errors.Is(err, taskstore.ErrInvalidKey) {
				err = taskstore.ErrInvalidKey
			}
			return existed, err
		}
	}},
	{"keys/longest", "the limit is one less", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if len(k.Owner) >= taskstore.MaxKeyLength {
				return 0, &taskstore.KeyError{Key: k, Reason: "the owner is too long"}
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"keys/longest", "keys are cut when listed", func(f *fake) {
		f.list = func(ctx ctxt, k key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, k)
			for i := range records {
				records[i].Key.Task = cutTo(255, records[i].Key.Task)
			}
			return records, err
		}
	}},
	{"keys/empty-prefix", "a prefix needs a task", func(f *fake) {
		f.page = func(ctx ctxt, k key, cursor string, limit int) ([]entry, string, error) {
			if k.Task == "" {
				return nil, "", &taskstore.KeyError{Key: k, Reason: "the task is empty"}
			}
			return f.m.ListPage(ctx, k, cursor, limit)
		}
	}},

	{"errors/no-secrets", "an error tells the owner", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if err != nil {
				err = fmt.Errorf("%w: of %s", err, k.Owner)
			}
			return r, err
		}
	}},
	{"errors/no-secrets", "an error tells the task with %#v", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed, err := f.m.Delete(ctx, k)
			if err != nil {
				err = &talkative{error: err, task: k.Task}
			}
			return existed, err
		}
	}},
	{"errors/no-secrets", "an error tells the data as JSON", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			if err != nil {
				err = &talkative{error: err, Data: string(v.Data)}
			}
			return made, err
		}
	}},
}

// A talkative error says little, and much with another verb.
type talkative struct {
	error
	task string
	Data string
}

func keep(records []entry, want func(entry) bool) (kept []entry) {
	for _, r := range records {
		if want(r) {
			kept = append(kept, r)
		}
	}
	return kept
}
