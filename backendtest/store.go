package backendtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// A store is the backend of a trial, with helpers for the rules. The must methods end the
// rule when they fail, the want methods mark it as broken and go on. Goroutines other
// than the rule's own may call only the want methods.
type store struct {
	*trial
	taskstore.StorageBackend
}

func (t *trial) open() *store {
	t.Helper()
	return &store{t, t.openBackend()}
}

// limited opens a backend with limits, 0 for no limit.
func (t *trial) limited(maxRecordsPerOwner, maxDataBytes int) *store {
	t.Helper()
	if t.openLimited == nil {
		t.skip("Hooks.OpenLimited is nil")
	}
	return &store{t, t.openLimited(maxRecordsPerOwner, maxDataBytes)}
}

// power returns the backend's P, or skips the rule if the backend has no P.
func power[P any](s *store, name string) P {
	s.Helper()
	p, ok := taskstore.As[P](s.StorageBackend)
	if !ok {
		s.skip("backend has no " + name)
	}
	return p
}

func (s *store) pager() taskstore.Pager {
	s.Helper()
	return power[taskstore.Pager](s, "Pager")
}

// newOwner returns an owner that only the caller uses.
func newOwner() string { return "Owner-" + rand.Text() }

// newKey returns a key of an owner that only the caller uses.
func newKey() taskstore.Key { return taskstore.Key{Owner: newOwner(), Task: "task"} }

func of(owner, task string) taskstore.Key { return taskstore.Key{Owner: owner, Task: task} }

func text(s string) taskstore.Value { return taskstore.Value{Data: []byte(s)} }

func until(s string, at time.Time) taskstore.Value {
	return taskstore.Value{Data: []byte(s), ExpiresAt: at}
}

func (s *store) mustPut(key taskstore.Key, v taskstore.Value) taskstore.Version {
	s.Helper()
	version, err := s.Put(s.ctx, key, v)
	if err != nil {
		s.Fatalf("Put: %v", err)
	}
	return version
}

func (s *store) mustCAS(key taskstore.Key, v taskstore.Value, expected taskstore.Version) taskstore.Version {
	s.Helper()
	version, err := s.PutIfVersion(s.ctx, key, v, expected)
	if err != nil {
		s.Fatalf("PutIfVersion, expected %d: %v", expected, err)
	}
	return version
}

func (s *store) mustDelete(key taskstore.Key) (existed bool) {
	s.Helper()
	existed, err := s.Delete(s.ctx, key)
	if err != nil {
		s.Fatalf("Delete: %v", err)
	}
	return existed
}

func (s *store) mustGet(key taskstore.Key) taskstore.Record {
	s.Helper()
	r, err := s.Get(s.ctx, key)
	if err != nil {
		s.Fatalf("Get: %v", err)
	}
	return r
}

func (s *store) mustList(prefix taskstore.Key) []taskstore.Record {
	s.Helper()
	records, err := s.ListByPrefix(s.ctx, prefix)
	if err != nil {
		s.Fatalf("ListByPrefix: %v", err)
	}
	return records
}

func (s *store) now() time.Time {
	s.Helper()
	now, err := taskstore.Now(s.ctx, s.StorageBackend)
	if err != nil {
		s.Fatalf("Now: %v", err)
	}
	return now
}

// wantVersion checks the version that a write returned.
func (s *store) wantVersion(what string, got, want taskstore.Version) {
	s.Helper()
	if got != want {
		s.Errorf("%s: version %d, want %d", what, got, want)
	}
}

// wantRecord checks that Get returns exactly this.
func (s *store) wantRecord(key taskstore.Key, version taskstore.Version, v taskstore.Value) {
	s.Helper()
	r, err := s.Get(s.ctx, key)
	if err != nil {
		s.Errorf("Get of %q, %q: %v", clip(key.Owner), clip(key.Task), err)
		return
	}
	s.wantSame("Get", r, taskstore.Record{Key: key, Version: version, Value: v})
}

// wantSame compares all parts of two records.
func (s *store) wantSame(what string, got, want taskstore.Record) {
	s.Helper()
	if got.Key != want.Key {
		s.Errorf("%s: key %q, %q, want %q, %q", what, clip(got.Key.Owner), clip(got.Key.Task), clip(want.Key.Owner), clip(want.Key.Task))
	}
	if got.Version != want.Version {
		s.Errorf("%s: version %d, want %d", what, got.Version, want.Version)
	}
	if !bytes.Equal(got.Data, want.Data) {
		s.Errorf("%s: data %q, want %q", what, clip(string(got.Data)), clip(string(want.Data)))
	}
	if !got.ExpiresAt.Equal(want.ExpiresAt) {
		s.Errorf("%s: ExpiresAt %v, want %v", what, got.ExpiresAt, want.ExpiresAt)
	}
}

// wantNone checks that Get does not find the record.
func (s *store) wantNone(key taskstore.Key) {
	s.Helper()
	if r, err := s.Get(s.ctx, key); err == nil {
		s.Errorf("Get found version %d, want no record", r.Version)
	} else if !errors.Is(err, taskstore.ErrNotFound) {
		s.Errorf("Get: %v, want an error that matches ErrNotFound", err)
	}
}

// wantConflict checks the error of a PutIfVersion.
func (s *store) wantConflict(err error, key taskstore.Key, expected, actual taskstore.Version) {
	s.Helper()
	var conflict *taskstore.VersionConflictError
	if !errors.As(err, &conflict) {
		s.Errorf("PutIfVersion, expected %d, there is %d: error %v, want a *VersionConflictError", expected, actual, err)
		return
	}
	if *conflict != (taskstore.VersionConflictError{Key: key, Expected: expected, Actual: actual}) {
		s.Errorf("the conflict says expected %d, actual %d (own key: %t), want %d, %d (true)",
			conflict.Expected, conflict.Actual, conflict.Key == key, expected, actual)
	}
	if !errors.Is(err, taskstore.ErrVersionConflict) {
		s.Errorf("error %v does not match ErrVersionConflict", err)
	}
	if got, want := errors.Is(err, taskstore.ErrNotFound), actual == 0; got != want {
		s.Errorf("error %v matches ErrNotFound: %t, want %t", err, got, want)
	}
}

// wantError checks that err is of a kind.
func (s *store) wantError(what string, err, kind error) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s: error %v, want one that matches %q", what, err, kind)
	}
}

// wantTasks checks that records are these, in this order.
func (s *store) wantTasks(what string, records []taskstore.Record, owner string, tasks ...string) {
	s.Helper()
	got := tasksOf(records)
	if !slices.Equal(got, tasks) {
		s.Errorf("%s: tasks %q, want %q", what, clipAll(got), clipAll(tasks))
	}
	for _, r := range records {
		if r.Key.Owner != owner {
			s.Errorf("%s: a record of owner %q, want %q", what, clip(r.Key.Owner), clip(owner))
			return
		}
	}
}

func tasksOf(records []taskstore.Record) []string {
	var tasks []string
	for _, r := range records {
		tasks = append(tasks, r.Key.Task)
	}
	return tasks
}

// clip keeps messages readable.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

func clipAll(list []string) []string {
	var short []string
	for i, s := range list {
		if i == 40 {
			return append(short, "...")
		}
		short = append(short, clip(s))
	}
	return short
}

// atOnce runs f n times, as far as possible at the same time, and waits for all.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// A verb is a method of the backend that takes a key.
type verb struct {
	name   string
	prefix bool // the key is a prefix: its task may be empty
	call   func(ctx context.Context, key taskstore.Key) error
}

// verbs returns every method that the backend has. The writes write v.
func (s *store) verbs(v taskstore.Value) []verb {
	list := []verb{
		{"Get", false, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.Get(ctx, key)
			return err
		}},
		{"Put", false, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.Put(ctx, key, v)
			return err
		}},
		{"PutIfVersion to create", false, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.PutIfVersion(ctx, key, v, 0)
			return err
		}},
		{"PutIfVersion to update", false, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.PutIfVersion(ctx, key, v, 1)
			return err
		}},
		{"Delete", false, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.Delete(ctx, key)
			return err
		}},
		{"ListByPrefix", true, func(ctx context.Context, key taskstore.Key) error {
			_, err := s.ListByPrefix(ctx, key)
			return err
		}},
		{"All", true, func(ctx context.Context, key taskstore.Key) error {
			for _, err := range taskstore.All(ctx, s.StorageBackend, key) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	}
	if p, ok := taskstore.As[taskstore.Pager](s.StorageBackend); ok {
		list = append(list, verb{"ListPage", true, func(ctx context.Context, key taskstore.Key) error {
			_, _, err := p.ListPage(ctx, key, "", 10)
			return err
		}})
	}
	if b, ok := taskstore.As[taskstore.Batcher](s.StorageBackend); ok {
		list = append(list, verb{"PutBatch", false, func(ctx context.Context, key taskstore.Key) error {
			return b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: v}})
		}})
	}
	if w, ok := taskstore.As[taskstore.Watcher](s.StorageBackend); ok {
		list = append(list, verb{"Watch", true, func(ctx context.Context, key taskstore.Key) error {
			for _, err := range w.Watch(ctx, key) {
				return err
			}
			return errors.New("the watch ended without a word")
		}})
	}
	return list
}
