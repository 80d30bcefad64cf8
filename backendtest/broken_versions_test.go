package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// pause makes races certain.
func pause() { time.Sleep(3 * time.Millisecond) }

// version returns the version of k, 0 if k has no record.
func (f *fake) version(ctx ctxt, k key) version {
	r, _ := f.m.Get(ctx, k)
	return r.Version
}

var brokenVersions = []breach{
	{"versions/missing", "Get of a missing record returns a zero record", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if errors.Is(err, taskstore.ErrNotFound) {
				return entry{}, nil
			}
			return r, err
		}
	}},
	{"versions/missing", "the error is another one", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if err != nil {
				err = errors.New(err.Error())
			}
			return r, err
		}
	}},
	{"versions/count", "Put returns the version before", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			return made - 1, err
		}
	}},
	{"versions/count", "a write of the same data does not count", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if r, err := f.m.Get(ctx, k); err == nil && bytes.Equal(r.Data, v.Data) {
				return r.Version, nil
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"versions/reads", "Get writes", func(f *fake) {
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if err == nil {
				_, err = f.m.Put(ctx, k, r.Value)
			}
			return r, err
		}
	}},
	{"versions/restart", "versions go on after a delete", func(f *fake) {
		var before sync.Map
		f.del = func(ctx ctxt, k key) (bool, error) {
			before.Store(k, f.version(ctx, k))
			return f.m.Delete(ctx, k)
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			made, err := f.m.Put(ctx, k, v)
			if b, ok := before.Load(k); ok {
				made += b.(version)
			}
			return made, err
		}
	}},
	{"versions/concurrent-puts", "Put reads the version before it writes", func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			before := f.version(ctx, k)
			pause()
			_, err := f.m.Put(ctx, k, v)
			return before + 1, err
		}
	}},
	{"versions/linearizable", "Get caches", func(f *fake) {
		var cache sync.Map
		f.get = func(ctx ctxt, k key) (entry, error) {
			if r, ok := cache.Load(k); ok {
				return r.(entry), nil
			}
			r, err := f.m.Get(ctx, k)
			if err == nil {
				cache.Store(k, r)
				time.AfterFunc(time.Millisecond, func() { cache.Delete(k) })
			}
			return r, err
		}
	}},
	{"versions/linearizable", "a list reads versions and data one after the other", func(f *fake) {
		f.list = func(ctx ctxt, k key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, k)
			time.Sleep(50 * time.Microsecond)
			for i := range records {
				r, _ := f.m.Get(ctx, records[i].Key)
				records[i].Data = r.Data
			}
			return records, err
		}
	}},

	{"cas/match", "PutIfVersion returns expected", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			_, err := f.m.PutIfVersion(ctx, k, v, e)
			return e, err
		}
	}},
	{"cas/match cas/mismatch", "versions are compared as text", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			actual := f.version(ctx, k)
			if e > 0 && fmt.Sprint(e) > fmt.Sprint(actual) || e > actual && actual > 9 {
				e = actual
			} else if actual > 9 && e == actual {
				e = 0
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"cas/mismatch cas/race-update", "PutIfVersion ignores the version", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if f.version(ctx, k) == 0 || e == 0 {
				return f.m.PutIfVersion(ctx, k, v, e)
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"cas/mismatch", "the error has no type", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if errors.Is(err, taskstore.ErrVersionConflict) {
				err = taskstore.ErrVersionConflict
			}
			return made, err
		}
	}},
	{"cas/mismatch", "the error does not tell the actual version", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if errors.Is(err, taskstore.ErrVersionConflict) {
				err = &taskstore.VersionConflictError{Key: k, Expected: e}
			}
			return made, err
		}
	}},
	{"cas/missing", "an update of a missing record is only not found", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if errors.Is(err, taskstore.ErrNotFound) {
				err = taskstore.ErrNotFound
			}
			return made, err
		}
	}},
	{"cas/missing", "an update of a missing record creates", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if f.version(ctx, k) == 0 {
				e = 0
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"cas/create-only", "expected 0 means any version", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if e == 0 {
				return f.m.Put(ctx, k, v)
			}
			return f.m.PutIfVersion(ctx, k, v, e)
		}
	}},
	{"cas/huge-expected", "expected has 32 bits", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, k, v, e&0xffffffff)
		}
	}},
	{"cas/huge-expected", "expected has a sign", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, k, v, version(max(int64(e), 0)))
		}
	}},
	{"cas/failed", "a conflict takes the new expiry", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if r, missing := f.m.Get(ctx, k); err != nil && missing == nil {
				f.m.Delete(ctx, k)
				f.m.Put(ctx, k, value{Data: r.Data, ExpiresAt: v.ExpiresAt})
			}
			return made, err
		}
	}},
	{"cas/failed", "a conflict counts", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			made, err := f.m.PutIfVersion(ctx, k, v, e)
			if r, missing := f.m.Get(ctx, k); err != nil && missing == nil {
				f.m.Put(ctx, k, r.Value)
			}
			return made, err
		}
	}},
	{"cas/race-create cas/race-update cas/increments", "PutIfVersion checks before it writes", func(f *fake) {
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			if actual := f.version(ctx, k); actual != e {
				return 0, &taskstore.VersionConflictError{Key: k, Expected: e, Actual: actual}
			}
			pause()
			return f.m.Put(ctx, k, v)
		}
	}},

	{"delete/existing", "Delete reports false", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			_, err := f.m.Delete(ctx, k)
			return false, err
		}
	}},
	{"delete/existing", "Delete only empties", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			_, err := f.m.Put(ctx, k, value{})
			return true, err
		}
	}},
	{"delete/missing", "Delete reports true", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			_, err := f.m.Delete(ctx, k)
			return true, err
		}
	}},
	{"delete/missing", "Delete of a missing record is an error", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed, err := f.m.Delete(ctx, k)
			if !existed && err == nil {
				err = taskstore.ErrNotFound
			}
			return existed, err
		}
	}},
	{"delete/others-stay", "Delete takes its key as a prefix", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			records, err := f.m.ListByPrefix(ctx, k)
			for _, r := range records {
				f.m.Delete(ctx, r.Key)
			}
			return len(records) > 0, err
		}
	}},
	{"delete/race", "Delete looks before it deletes", func(f *fake) {
		f.del = func(ctx ctxt, k key) (bool, error) {
			existed := f.version(ctx, k) > 0
			pause()
			_, err := f.m.Delete(ctx, k)
			return existed, err
		}
	}},
}

// onWrite makes both writes write something else.
func onWrite(change func(f *fake, ctx ctxt, k key, v value) value) func(f *fake) {
	return func(f *fake) {
		f.put = func(ctx ctxt, k key, v value) (version, error) { return f.m.Put(ctx, k, change(f, ctx, k, v)) }
		f.cas = func(ctx ctxt, k key, v value, e version) (version, error) {
			return f.m.PutIfVersion(ctx, k, change(f, ctx, k, v), e)
		}
	}
}

// onData makes writes write other data.
func onData(change func(string) string) func(f *fake) {
	return onWrite(func(_ *fake, _ ctxt, _ key, v value) value {
		return value{Data: []byte(change(string(v.Data))), ExpiresAt: v.ExpiresAt}
	})
}

var brokenValues = []breach{
	{"values/empty", "nil reads back as null", onData(func(s string) string {
		if s == "" {
			return "null"
		}
		return s
	})},
	{"values/any-bytes", "data is made UTF-8", onData(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") })},
	{"values/any-bytes", "data is trimmed", onData(strings.TrimSpace)},
	{"values/any-bytes", "data ends at a NUL", onData(func(s string) string { return strings.SplitN(s, "\x00", 2)[0] })},
	{"values/large", "data is cut at 64 KiB", onData(func(s string) string { return cutTo(1<<16-1, s) })},
	{"values/copied-in", "data stays the caller's", func(f *fake) {
		var given sync.Map
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			given.Store(k, v.Data)
			return f.m.Put(ctx, k, v)
		}
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if data, ok := given.Load(k); ok {
				r.Data = bytes.Clone(data.([]byte))
			}
			return r, err
		}
	}},
	{"values/copied-out", "all readers get the same slice", func(f *fake) {
		var handedOut sync.Map
		f.get = func(ctx ctxt, k key) (entry, error) {
			r, err := f.m.Get(ctx, k)
			if err == nil {
				same, _ := handedOut.LoadOrStore(fmt.Sprint(k.Owner, k.Task, r.Version), r)
				r = same.(entry)
			}
			return r, err
		}
	}},
	{"values/copied-out", "the list is the store", func(f *fake) {
		f.list = func(ctx ctxt, k key) ([]entry, error) {
			var records []entry
			for _, r := range f.keys(&f.first) {
				if r.Owner == k.Owner {
					records = append(records, f.ghosts[r])
				}
			}
			return records, nil
		}
	}},
	{"values/replaced expiry/cleared", "a write without expiry keeps the old one", onWrite(func(f *fake, ctx ctxt, k key, v value) value {
		if r, err := f.m.Get(ctx, k); err == nil && v.ExpiresAt.IsZero() {
			v.ExpiresAt = r.ExpiresAt
		}
		return v
	})},
	{"values/replaced", "a write without data keeps the old one", onWrite(func(f *fake, ctx ctxt, k key, v value) value {
		if r, err := f.m.Get(ctx, k); err == nil && len(v.Data) == 0 {
			v.Data = r.Data
		}
		return v
	})},
	{"values/replaced", "a shorter write leaves the end", onWrite(func(f *fake, ctx ctxt, k key, v value) value {
		if r, err := f.m.Get(ctx, k); err == nil && len(v.Data) < len(r.Data) {
			v.Data = append(bytes.Clone(v.Data), r.Data[len(v.Data):]...)
		}
		return v
	})},
}
