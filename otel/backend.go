package taskotel

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/taskstore/taskstore"
)

// Backend returns b with each operation measured. The result has the same powers as b: it
// measures pages, batches and watches too, and [taskstore.As] finds the other powers of b in
// it, such as a clock, Ping or Close.
func (t *Telemetry) Backend(b taskstore.StorageBackend) taskstore.StorageBackend {
	m := &measured{StorageBackend: b, metrics: &t.metrics}
	pages, canPage := taskstore.As[taskstore.Pager](b)
	batches, canBatch := taskstore.As[taskstore.Batcher](b)
	watches, canWatch := taskstore.As[taskstore.Watcher](b)
	p, w, a := pager{m, pages}, watcher{m, watches}, batcher{m, batches}
	switch {
	case canPage && canBatch && canWatch:
		return struct {
			*measured
			pager
			batcher
			watcher
		}{m, p, a, w}
	case canPage && canBatch:
		return struct {
			*measured
			pager
			batcher
		}{m, p, a}
	case canPage && canWatch:
		return struct {
			*measured
			pager
			watcher
		}{m, p, w}
	case canBatch && canWatch:
		return struct {
			*measured
			batcher
			watcher
		}{m, a, w}
	case canPage:
		return struct {
			*measured
			pager
		}{m, p}
	case canBatch:
		return struct {
			*measured
			batcher
		}{m, a}
	case canWatch:
		return struct {
			*measured
			watcher
		}{m, w}
	}
	return m
}

// A measured backend measures the operations that every backend has.
type measured struct {
	taskstore.StorageBackend
	metrics *instruments
}

func (m *measured) Unwrap() taskstore.StorageBackend { return m.StorageBackend }

// since records an operation that began at begin and ended now with err.
func (m *measured) since(ctx context.Context, begin time.Time, operation string, err error) {
	attrs := make([]attribute.KeyValue, 1, 2)
	attrs[0] = attribute.String("operation", operation)
	if err != nil {
		attrs = append(attrs, attribute.String("error.type", kindOf(err)))
	}
	m.metrics.operation.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
	if errors.Is(err, taskstore.ErrOutcomeUnknown) {
		m.metrics.unknown.Add(ctx, 1)
	}
}

func (m *measured) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	begin := time.Now()
	r, err := m.StorageBackend.Get(ctx, key)
	m.since(ctx, begin, "get", err)
	return r, err
}

func (m *measured) Put(ctx context.Context, key taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	begin := time.Now()
	version, err := m.StorageBackend.Put(ctx, key, v)
	m.since(ctx, begin, "put", err)
	return version, err
}

func (m *measured) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	begin := time.Now()
	version, err := m.StorageBackend.PutIfVersion(ctx, key, v, expected)
	m.since(ctx, begin, "put_if_version", err)
	return version, err
}

func (m *measured) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	begin := time.Now()
	existed, err := m.StorageBackend.Delete(ctx, key)
	m.since(ctx, begin, "delete", err)
	return existed, err
}

func (m *measured) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	begin := time.Now()
	records, err := m.StorageBackend.ListByPrefix(ctx, prefix)
	m.since(ctx, begin, "list", err)
	return records, err
}

func (m *measured) CleanupExpired(ctx context.Context) (int, error) {
	begin := time.Now()
	removed, err := m.StorageBackend.CleanupExpired(ctx)
	m.since(ctx, begin, "cleanup", err)
	return removed, err
}

// A pager measures pages.
type pager struct {
	in *measured
	of taskstore.Pager
}

func (p pager) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, limit int) ([]taskstore.Record, string, error) {
	begin := time.Now()
	page, next, err := p.of.ListPage(ctx, prefix, cursor, limit)
	p.in.since(ctx, begin, "list_page", err)
	return page, next, err
}

// A batcher measures batches.
type batcher struct {
	in *measured
	of taskstore.Batcher
}

func (b batcher) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	begin := time.Now()
	err := b.of.PutBatch(ctx, writes)
	b.in.since(ctx, begin, "put_batch", err)
	return err
}

// A watcher counts the times that its watches may have missed hints.
type watcher struct {
	in *measured
	of taskstore.Watcher
}

func (w watcher) Watch(ctx context.Context, prefix taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		inPlace := false // set by the first Resync
		for change, err := range w.of.Watch(ctx, prefix) {
			if change.Resync && err == nil {
				if inPlace {
					w.in.metrics.resyncs.Add(ctx, 1)
				}
				inPlace = true
			}
			if !yield(change, err) {
				return
			}
		}
	}
}
