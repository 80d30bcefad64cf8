package backendtest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
)

type (
	key     = taskstore.Key
	value   = taskstore.Value
	version = taskstore.Version
	entry   = taskstore.Record
	change  = taskstore.Change
	write   = taskstore.Write
	ctxt    = context.Context
)

// A fake is a backend with methods that a breach replaces one by one. As it comes it is a
// legal one with every optional power. A rule can cut its connections and open it again.
type fake struct {
	m              *taskstore.MemoryBackend
	records, bytes int // its limits

	get     func(ctxt, key) (entry, error)
	put     func(ctxt, key, value) (version, error)
	cas     func(ctxt, key, value, version) (version, error)
	del     func(ctxt, key) (bool, error)
	list    func(ctxt, key) ([]entry, error)
	page    func(ctxt, key, string, int) ([]entry, string, error)
	batch   func(ctxt, []write) error
	watch   func(ctxt, key) iter.Seq2[change, error]
	cleanup func(ctxt) (int, error)
	now     func(ctxt) (time.Time, error)
	ping    func(ctxt) error
	owners  func(ctxt) iter.Seq2[string, error]
	cut     func()
	restart func() // between its end and its next life

	mu       sync.Mutex
	closed   bool
	stubborn bool // goes on when it is closed
	watchers map[*context.CancelCauseFunc]struct{}
	ghosts   map[key]entry // the last write of each key, deleted or not
	first    []key         // in order of their first write
	latest   []key         // in order of their last write
}

var errCut = errors.New("connection lost")

func newFake(records, bytes int) *fake {
	f := &fake{
		m:        taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes}),
		records:  records,
		bytes:    bytes,
		watchers: make(map[*context.CancelCauseFunc]struct{}),
		ghosts:   make(map[key]entry),
	}
	f.get, f.put, f.cas, f.del, f.list = f.m.Get, f.m.Put, f.m.PutIfVersion, f.m.Delete, f.m.ListByPrefix
	f.page, f.batch, f.cleanup, f.now = f.m.ListPage, f.m.PutBatch, f.m.CleanupExpired, f.m.Now
	f.ping = func(ctx ctxt) error { return ctx.Err() }
	f.watch, f.owners = f.rewatch, f.m.Owners
	f.cut = func() { f.interrupt(errCut) }
	f.restart = func() {}
	return f
}

// hooksOf returns hooks for fakes of one make.
func hooksOf(open func(records, bytes int) *fake) *Hooks {
	return &Hooks{
		OpenLimited: func(_ testing.TB, records, bytes int) taskstore.StorageBackend { return open(records, bytes) },
		Break: func(_ testing.TB, b taskstore.StorageBackend) {
			f, _ := taskstore.As[*fake](b)
			f.cut()
		},
		Reopen: func(_ testing.TB, b taskstore.StorageBackend) taskstore.StorageBackend {
			f, _ := taskstore.As[*fake](b)
			_ = f.Close()
			f.restart()
			f.mu.Lock()
			f.closed = false
			f.mu.Unlock()
			return b
		},
	}
}

func (f *fake) Get(ctx ctxt, k key) (entry, error) {
	if err := f.refused(); err != nil {
		return entry{}, err
	}
	return f.get(ctx, k)
}

func (f *fake) Put(ctx ctxt, k key, v value) (version, error) {
	if err := f.refused(); err != nil {
		return 0, err
	}
	made, err := f.put(ctx, k, v)
	f.note(k, v, made, err)
	return made, err
}

func (f *fake) PutIfVersion(ctx ctxt, k key, v value, expected version) (version, error) {
	if err := f.refused(); err != nil {
		return 0, err
	}
	made, err := f.cas(ctx, k, v, expected)
	f.note(k, v, made, err)
	return made, err
}

func (f *fake) Delete(ctx ctxt, k key) (bool, error) {
	if err := f.refused(); err != nil {
		return false, err
	}
	return f.del(ctx, k)
}

func (f *fake) ListByPrefix(ctx ctxt, prefix key) ([]entry, error) {
	if err := f.refused(); err != nil {
		return nil, err
	}
	return f.list(ctx, prefix)
}

func (f *fake) ListPage(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
	if err := f.refused(); err != nil {
		return nil, "", err
	}
	return f.page(ctx, prefix, cursor, limit)
}

func (f *fake) PutBatch(ctx ctxt, writes []write) error {
	if err := f.refused(); err != nil {
		return err
	}
	err := f.batch(ctx, writes)
	for _, w := range writes {
		f.note(w.Key, w.Value, w.Expected+1, err)
	}
	return err
}

func (f *fake) Watch(ctx ctxt, prefix key) iter.Seq2[change, error] { return f.watch(ctx, prefix) }
func (f *fake) CleanupExpired(ctx ctxt) (int, error)                { return f.cleanup(ctx) }
func (f *fake) Now(ctx ctxt) (time.Time, error)                     { return f.now(ctx) }
func (f *fake) Ping(ctx ctxt) error                                 { return f.ping(ctx) }
func (f *fake) Owners(ctx ctxt) iter.Seq2[string, error]            { return f.owners(ctx) }

func (f *fake) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.interrupt(taskstore.ErrClosed)
	return nil
}

func (f *fake) refused() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed && !f.stubborn {
		return taskstore.ErrClosed
	}
	return nil
}

// note keeps the record of a write, for breaches that remember too much.
func (f *fake) note(k key, v value, made version, err error) {
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, seen := f.ghosts[k]; !seen {
		f.first = append(f.first, k)
	}
	f.latest = append(f.latest, k)
	f.ghosts[k] = entry{Key: k, Version: made, Value: v}
}

// expired returns the record of k if it was there and has expired.
func (f *fake) expired(k key) (entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.ghosts[k]
	return r, ok && !r.ExpiresAt.IsZero() && r.ExpiresAt.UnixMilli() < time.Now().UnixMilli()
}

// keys returns the keys that were written, without repetition, as first or as
// latest has them.
func (f *fake) keys(order *[]key) (list []key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := make(map[key]int)
	for i, k := range *order {
		last[k] = i
	}
	for i, k := range *order {
		if last[k] == i {
			list = append(list, k)
		}
	}
	return list
}

// interrupt ends the watches of rewatch.
func (f *fake) interrupt(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for cancel := range f.watchers {
		(*cancel)(why)
	}
}

// rewatch watches again when it was cut.
func (f *fake) rewatch(ctx ctxt, prefix key) iter.Seq2[change, error] {
	return func(yield func(change, error) bool) {
		for f.watchOnce(ctx, prefix, yield) {
		}
	}
}

func (f *fake) watchOnce(ctx ctxt, prefix key, yield func(change, error) bool) (again bool) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.mu.Lock()
	f.watchers[&cancel] = struct{}{}
	if f.closed {
		cancel(taskstore.ErrClosed)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, &cancel)
	}()
	for c, err := range f.m.Watch(inner, prefix) {
		if err != nil && inner.Err() != nil {
			if err = context.Cause(inner); err == errCut {
				return true
			}
		}
		if !yield(c, err) {
			return false
		}
	}
	return false
}
