package taskotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
)

func TestMeasuredMemoryKeepsTheContract(t *testing.T) {
	e := newExporter(t)
	backendtest.Run(t,
		func(testing.TB) taskstore.StorageBackend { return e.Backend(taskstore.NewMemoryBackend(nil)) },
		&backendtest.Hooks{
			OpenLimited: func(_ testing.TB, records, bytes int) taskstore.StorageBackend {
				return e.Backend(taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes}))
			},
		})
}

// bare has no powers.
type bare struct{ taskstore.StorageBackend }

type (
	pages   struct{ taskstore.Pager }
	batches struct{ taskstore.Batcher }
	watches struct{ taskstore.Watcher }
	closes  struct{ io.Closer }
	clock   struct{ taskstore.Clock }
)

// powers tells which of the optional interfaces b has.
func powers(b taskstore.StorageBackend) map[string]bool {
	has := map[string]bool{}
	_, has["Pager"] = taskstore.As[taskstore.Pager](b)
	_, has["Batcher"] = taskstore.As[taskstore.Batcher](b)
	_, has["Watcher"] = taskstore.As[taskstore.Watcher](b)
	_, has["Pinger"] = taskstore.As[taskstore.Pinger](b)
	_, has["Clock"] = taskstore.As[taskstore.Clock](b)
	_, has["OwnerLister"] = taskstore.As[taskstore.OwnerLister](b)
	_, has["Closer"] = taskstore.As[io.Closer](b)
	return has
}

func TestMeasuredBackendHasThePowersOfItsBackend(t *testing.T) {
	e, m := newExporter(t), taskstore.NewMemoryBackend(nil)
	p, a, w := pages{m}, batches{m}, watches{m}
	for i, b := range []taskstore.StorageBackend{
		m,
		bare{m},
		struct {
			bare
			pages
		}{bare{m}, p},
		struct {
			bare
			batches
		}{bare{m}, a},
		struct {
			bare
			watches
		}{bare{m}, w},
		struct {
			bare
			pages
			batches
		}{bare{m}, p, a},
		struct {
			bare
			pages
			watches
		}{bare{m}, p, w},
		struct {
			bare
			batches
			watches
			clock
		}{bare{m}, a, w, clock{m}},
		struct {
			bare
			pages
			batches
			watches
			closes
		}{bare{m}, p, a, w, closes{io.NopCloser(nil)}},
		(*taskstore.RedisBackend)(nil), // for its type
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			assert.Equal(t, powers(b), powers(e.Backend(b)))
			assert.Equal(t, powers(b), powers(e.Backend(e.Backend(b))))
		})
	}
}

// Each power of a backend is measured, beside any other powers. The test counts measurements:
// a wrapper that lacks a power has As find the power of the backend within, unmeasured.
func TestEachPowerIsMeasuredBesideAnyOther(t *testing.T) {
	m := taskstore.NewMemoryBackend(nil)
	p, a := pages{m}, batches{m}
	w := watches{failing{err: errors.New("over"), changes: []taskstore.Change{{Resync: true}, {Resync: true}}}}
	for name, b := range map[string]taskstore.StorageBackend{
		"": bare{m},
		"page": struct {
			bare
			pages
		}{bare{m}, p},
		"batch": struct {
			bare
			batches
		}{bare{m}, a},
		"watch": struct {
			bare
			watches
		}{bare{m}, w},
		"page batch": struct {
			bare
			pages
			batches
		}{bare{m}, p, a},
		"page watch": struct {
			bare
			pages
			watches
		}{bare{m}, p, w},
		"batch watch": struct {
			bare
			batches
			watches
		}{bare{m}, a, w},
		"page batch watch": struct {
			bare
			pages
			batches
			watches
		}{bare{m}, p, a, w},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			b := e.Backend(b)
			if p, ok := taskstore.As[taskstore.Pager](b); ok {
				_, _, err := p.ListPage(t.Context(), taskstore.Key{Owner: "alice"}, "", 1)
				require.NoError(t, err)
			}
			if a, ok := taskstore.As[taskstore.Batcher](b); ok {
				require.NoError(t, a.PutBatch(t.Context(), []taskstore.Write{{Key: taskstore.Key{Owner: "alice", Task: name}}}))
			}
			if w, ok := taskstore.As[taskstore.Watcher](b); ok {
				for range w.Watch(t.Context(), taskstore.Key{}) {
				}
			}
			has := func(power string) int64 {
				if slices.Contains(strings.Fields(name), power) {
					return 1
				}
				return 0
			}
			counts := e.counts("taskstore.operation.duration")
			assert.Equal(t, has("page"), counts["operation=list_page"])
			assert.Equal(t, has("batch"), counts["operation=put_batch"])
			assert.Equal(t, map[string]int64{"": has("watch")}, e.counts("taskstore.watch.resyncs"))
		})
	}
}

func TestEachOperationIsMeasured(t *testing.T) {
	e := newExporter(t)
	b := e.Backend(taskstore.NewMemoryBackend(nil))
	ctx, key := t.Context(), taskstore.Key{Owner: "alice", Task: "one"}
	_, err := b.Get(ctx, key)
	require.ErrorIs(t, err, taskstore.ErrNotFound)
	_, err = b.Put(ctx, key, taskstore.Value{})
	require.NoError(t, err)
	_, err = b.PutIfVersion(ctx, key, taskstore.Value{}, 7)
	require.ErrorIs(t, err, taskstore.ErrVersionConflict)
	_, err = b.ListByPrefix(ctx, taskstore.Key{Owner: "alice"})
	require.NoError(t, err)
	for _, err := range taskstore.All(ctx, b, taskstore.Key{Owner: "alice"}) {
		require.NoError(t, err)
	}
	require.NoError(t, taskstore.PutBatch(ctx, b, []taskstore.Write{{Key: key, Expected: 1}}))
	_, err = b.Delete(ctx, key)
	require.NoError(t, err)
	_, err = b.CleanupExpired(ctx)
	require.NoError(t, err)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = b.Get(done, key)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, map[string]int64{
		"error.type=not_found operation=get": 1, "operation=put": 1, "error.type=version_conflict operation=put_if_version": 1,
		"operation=list": 1, "operation=list_page": 1, "operation=put_batch": 1, "operation=delete": 1, "operation=cleanup": 1,
		"error.type=canceled operation=get": 1,
	}, e.counts("taskstore.operation.duration"))
}

// A failing backend fails, and its watches yield the changes of a test.
type failing struct {
	taskstore.StorageBackend
	err     error
	changes []taskstore.Change
}

func (f failing) PutIfVersion(context.Context, taskstore.Key, taskstore.Value, taskstore.Version) (taskstore.Version, error) {
	return 0, f.err
}

func (f failing) Watch(context.Context, taskstore.Key) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		for _, c := range f.changes {
			if !yield(c, nil) {
				return
			}
		}
		yield(taskstore.Change{}, f.err)
	}
}

func TestUnknownOutcomesAreCounted(t *testing.T) {
	e := newExporter(t)
	b := e.Backend(failing{err: fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, context.DeadlineExceeded)})
	_, err := b.PutIfVersion(t.Context(), taskstore.Key{}, taskstore.Value{}, 0)
	require.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.Equal(t, map[string]int64{"": 1}, e.counts("taskstore.outcomes.unknown"))
	assert.Equal(t, map[string]int64{"error.type=outcome_unknown operation=put_if_version": 1}, e.counts("taskstore.operation.duration"))
}

func TestResyncsAfterTheFirstAreCounted(t *testing.T) {
	e := newExporter(t)
	b := e.Backend(failing{err: errors.New("over"), changes: []taskstore.Change{{Resync: true}, {Version: 1}, {Resync: true}, {Resync: true}}})
	w, ok := taskstore.As[taskstore.Watcher](b)
	require.True(t, ok)
	seen := 0
	for _, err := range w.Watch(t.Context(), taskstore.Key{}) {
		if seen++; seen == 5 {
			require.Error(t, err)
		}
	}
	assert.Equal(t, 5, seen, "each change is passed on")
	assert.Equal(t, map[string]int64{"": 2}, e.counts("taskstore.watch.resyncs"))
	for range w.Watch(t.Context(), taskstore.Key{}) {
		break // ends the watch within
	}
	assert.Equal(t, map[string]int64{"": 2}, e.counts("taskstore.watch.resyncs"))
}

func TestResendsAreCounted(t *testing.T) {
	e := newExporter(t)
	e.Resent()
	assert.Equal(t, map[string]int64{"": 1}, e.counts("taskstore.operation.resends"))
}

// connect returns a session of server.
func connect(tb testing.TB, server *mcp.Server) *mcp.ServerSession {
	tb.Helper()
	_, end := mcp.NewInMemoryTransports()
	session, err := server.Connect(context.Background(), end, nil)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = session.Close() })
	return session
}
