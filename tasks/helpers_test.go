package tasks

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

var ctx = context.Background()

const owner = "owner"

// Every test without a clock of its own runs on each of the backends. The
// integration tests add Redis.
var backends = map[string]func(testing.TB) taskstore.StorageBackend{
	"Memory": func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) },
}

// onEach runs test with a store on each backend.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newStore(t, open(t), nil))
		})
	}
}

func newStore(tb testing.TB, b taskstore.StorageBackend, opts *Options) *Store {
	tb.Helper()
	s, err := New(b, opts)
	require.NoError(tb, err)
	return s
}

func memoryStore(tb testing.TB, opts *Options) *Store {
	return newStore(tb, taskstore.NewMemoryBackend(nil), opts)
}

// create makes a task that must be a new one.
func create(tb testing.TB, s *Store, p CreateParams) Task {
	tb.Helper()
	t, created, err := s.Create(ctx, owner, p)
	require.NoError(tb, err)
	require.True(tb, created)
	return t
}

// running makes a task under a lease.
func running(tb testing.TB, s *Store) (Task, *Run) {
	tb.Helper()
	t := create(tb, s, CreateParams{Holder: "runner", Request: raw(`{"name":"tool"}`)})
	return t, s.RunOf(t)
}

// grace is how long a suspicion lasts before a task is settled.
func (s *Store) grace() time.Duration { return s.idleEnough(Lease{}).Sub(time.Time{}) }

// abandon lets the leases of the owner's tasks run out, suspects the tasks by a List, and
// lets the grace pass. The next read settles them.
func abandon(tb testing.TB, s *Store) {
	tb.Helper()
	time.Sleep(s.opts.Lease + time.Millisecond)
	_, _, err := s.List(ctx, owner, "", 1000)
	require.NoError(tb, err)
	time.Sleep(s.grace())
}

func get(tb testing.TB, s *Store, id string) Task {
	tb.Helper()
	t, err := s.Get(ctx, owner, id)
	require.NoError(tb, err)
	return t
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func inputs(keys ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for _, k := range keys {
		m[k] = raw(`{"for":"` + k + `"}`)
	}
	return m
}

// A counting backend counts the calls that would go to a server.
type counting struct {
	taskstore.StorageBackend
	calls, batches atomic.Int64
}

func (c *counting) Unwrap() taskstore.StorageBackend { return c.StorageBackend }

func (c *counting) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	c.calls.Add(1)
	return c.StorageBackend.Get(ctx, k)
}

func (c *counting) Put(ctx context.Context, k taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	c.calls.Add(1)
	return c.StorageBackend.Put(ctx, k, v)
}

func (c *counting) PutIfVersion(ctx context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	c.calls.Add(1)
	return c.StorageBackend.PutIfVersion(ctx, k, v, e)
}

func (c *counting) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	c.calls.Add(1)
	c.batches.Add(1)
	return taskstore.PutBatch(ctx, c.StorageBackend, writes)
}

func (c *counting) Delete(ctx context.Context, k taskstore.Key) (bool, error) {
	c.calls.Add(1)
	return c.StorageBackend.Delete(ctx, k)
}

// A plain backend has no optional power.
type plain struct{ taskstore.StorageBackend }

// A deaf backend watches without hearing any write.
type deaf struct{ plain }

func (deaf) Watch(ctx context.Context, k taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		if yield(taskstore.Change{Key: k, Resync: true}, nil) {
			<-ctx.Done()
			yield(taskstore.Change{}, ctx.Err())
		}
	}
}

// A script backend lets a test stand before each conditional write.
type script struct {
	taskstore.StorageBackend
	mu     sync.Mutex
	before func(k taskstore.Key, v taskstore.Value, write func() error) (handled bool, err error)
}

func (s *script) Unwrap() taskstore.StorageBackend { return s.StorageBackend }

func (s *script) do(f func(k taskstore.Key, v taskstore.Value, write func() error) (bool, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *script) PutIfVersion(ctx context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	s.mu.Lock()
	f := s.before
	s.mu.Unlock()
	if f != nil {
		if handled, err := f(k, v, func() error { _, err := s.StorageBackend.PutIfVersion(ctx, k, v, e); return err }); handled {
			return 0, err
		}
	}
	return s.StorageBackend.PutIfVersion(ctx, k, v, e)
}

// PutBatch is one write of its first record.
func (s *script) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	s.mu.Lock()
	f := s.before
	s.mu.Unlock()
	write := func() error { return taskstore.PutBatch(ctx, s.StorageBackend, writes) }
	if f != nil {
		if handled, err := f(writes[0].Key, writes[0].Value, write); handled {
			return err
		}
	}
	return write()
}

// dump returns the records that the backend lists under prefix.
func dump(tb testing.TB, s *Store, prefix taskstore.Key) []taskstore.Record {
	tb.Helper()
	records, err := s.backend.ListByPrefix(ctx, prefix)
	require.NoError(tb, err)
	return records
}

// everything returns all that a backend holds of the owner.
func everything(tb testing.TB, s *Store) (all []taskstore.Record) {
	tb.Helper()
	for _, prefix := range []taskstore.Key{tasksKey(owner), activeKey(owner, ""), idempotencyKey(owner, "")} {
		all = append(all, dump(tb, s, prefix)...)
	}
	return all
}

func activeEntries(tb testing.TB, s *Store) int { return len(dump(tb, s, activeKey(owner, ""))) }

func keyRecords(tb testing.TB, s *Store) int { return len(dump(tb, s, idempotencyKey(owner, ""))) }

func isTask(k taskstore.Key) bool {
	return strings.HasPrefix(k.Owner, userPrefix) && k.Collection == ""
}

func isActive(k taskstore.Key) bool { return k.Collection == activeCollection }

func isKey(k taskstore.Key) bool { return k.Collection == keyCollection }

func isEntry(k taskstore.Key) bool { return strings.HasPrefix(k.Owner, registryPrefix) }

func registryEntries(tb testing.TB, s *Store) (n int) {
	for _, b := range buckets {
		n += len(dump(tb, s, taskstore.Key{Owner: registryPrefix + string(b)}))
	}
	return n
}

// registryEntriesOf counts the entries of one task.
func registryEntriesOf(tb testing.TB, s *Store, id string) (n int) {
	for _, b := range buckets {
		for _, r := range dump(tb, s, taskstore.Key{Owner: registryPrefix + string(b)}) {
			if strings.HasPrefix(r.Key.Task, id) {
				n++
			}
		}
	}
	return n
}

// A hooked backend lets a test stand before each call; an error is its answer.
type hooked struct {
	taskstore.StorageBackend
	before  func(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error
	written func(v taskstore.Value)                                  // gets each value that was written
	around  func(writes []taskstore.Write) (handled bool, err error) // stands in the place of a batch
}

func (h *hooked) wrote(err error, v taskstore.Value) {
	if h.written != nil && err == nil {
		h.written(v)
	}
}

func (h *hooked) Unwrap() taskstore.StorageBackend { return h.StorageBackend }

func (h *hooked) call(op string, k taskstore.Key, v taskstore.Value, e taskstore.Version) error {
	if h.before == nil {
		return nil
	}
	return h.before(op, k, v, e)
}

func (h *hooked) Get(ctx context.Context, k taskstore.Key) (taskstore.Record, error) {
	if err := h.call("get", k, taskstore.Value{}, 0); err != nil {
		return taskstore.Record{}, err
	}
	return h.StorageBackend.Get(ctx, k)
}

func (h *hooked) PutIfVersion(ctx context.Context, k taskstore.Key, v taskstore.Value, e taskstore.Version) (taskstore.Version, error) {
	if err := h.call("write", k, v, e); err != nil {
		return 0, err
	}
	version, err := h.StorageBackend.PutIfVersion(ctx, k, v, e)
	h.wrote(err, v)
	return version, err
}

func (h *hooked) Put(ctx context.Context, k taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	if err := h.call("write", k, v, taskstore.AnyVersion); err != nil {
		return 0, err
	}
	version, err := h.StorageBackend.Put(ctx, k, v)
	h.wrote(err, v)
	return version, err
}

// PutBatch calls the test's hook before each of the writes, and makes the first write after
// the last hook.
func (h *hooked) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	for _, w := range writes {
		if err := h.call("write", w.Key, w.Value, w.Expected); err != nil {
			return err
		}
	}
	if h.around != nil {
		if handled, err := h.around(writes); handled {
			return err
		}
	}
	err := taskstore.PutBatch(ctx, h.StorageBackend, writes)
	for _, w := range writes {
		h.wrote(err, w.Value)
	}
	return err
}

func (h *hooked) Delete(ctx context.Context, k taskstore.Key) (bool, error) {
	if err := h.call("delete", k, taskstore.Value{}, 0); err != nil {
		return false, err
	}
	return h.StorageBackend.Delete(ctx, k)
}

// onceBefore runs f before the first call that is op on a record that is one of those.
func (h *hooked) onceBefore(op string, is func(taskstore.Key) bool, f func() error) {
	var over atomic.Bool
	h.before = func(o string, k taskstore.Key, _ taskstore.Value, _ taskstore.Version) error {
		if o != op || !is(k) || over.Swap(true) {
			return nil
		}
		return f()
	}
}

func orphans(tb testing.TB, s *Store) (ids []string) {
	tb.Helper()
	for t, err := range s.Orphans(ctx, "") {
		require.NoError(tb, err)
		ids = append(ids, t.ID)
	}
	return ids
}
