package taskstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	backendtest.Run(t,
		func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) },
		&backendtest.Hooks{
			OpenLimited: func(_ testing.TB, records, bytes int) taskstore.StorageBackend {
				return taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: records, MaxDataBytes: bytes})
			},
		})
}

// plain has the six verbs and no more.
type plain struct{ taskstore.StorageBackend }

// wrapper is a decorator that keeps the powers of its backend.
type wrapper struct{ taskstore.StorageBackend }

func (w wrapper) Unwrap() taskstore.StorageBackend { return w.StorageBackend }

// still is a backend whose clock stands.
type still struct {
	taskstore.StorageBackend
	at  time.Time
	err error
}

func (s still) Now(context.Context) (time.Time, error) { return s.at, s.err }

func TestAs(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	t.Run("FindsThePowerOfTheBackend", func(t *testing.T) {
		p, ok := taskstore.As[taskstore.Pager](memory)
		assert.True(t, ok)
		assert.Same(t, memory, p)
	})
	t.Run("FollowsUnwrap", func(t *testing.T) {
		p, ok := taskstore.As[taskstore.Pager](wrapper{wrapper{memory}})
		assert.True(t, ok)
		assert.Same(t, memory, p)
	})
	t.Run("TakesTheOutermost", func(t *testing.T) {
		at := time.Unix(1, 0)
		c, ok := taskstore.As[taskstore.Clock](wrapper{still{StorageBackend: memory, at: at}})
		require.True(t, ok)
		now, err := c.Now(t.Context())
		require.NoError(t, err)
		assert.Equal(t, at, now)
	})
	t.Run("StopsWhereNothingIsWrapped", func(t *testing.T) {
		_, ok := taskstore.As[taskstore.Pager](plain{memory})
		assert.False(t, ok)
		_, ok = taskstore.As[taskstore.Pager](wrapper{})
		assert.False(t, ok)
		_, ok = taskstore.As[taskstore.Pager](nil)
		assert.False(t, ok)
	})
}

func TestNow(t *testing.T) {
	t.Run("AsksTheBackendsClock", func(t *testing.T) {
		at := time.Unix(1, 0)
		now, err := taskstore.Now(t.Context(), wrapper{still{at: at}})
		require.NoError(t, err)
		assert.Equal(t, at, now)
		broken := errors.New("broken")
		_, err = taskstore.Now(t.Context(), still{err: broken})
		assert.ErrorIs(t, err, broken)
	})
	t.Run("FallsBackToTheProcess", func(t *testing.T) {
		now, err := taskstore.Now(t.Context(), plain{taskstore.NewMemoryBackend(nil)})
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), now, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = taskstore.Now(ctx, plain{})
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// countingPager counts the pages that are asked for.
type countingPager struct {
	*taskstore.MemoryBackend
	pages int
}

func (c *countingPager) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, limit int) ([]taskstore.Record, string, error) {
	c.pages++
	return c.MemoryBackend.ListPage(ctx, prefix, cursor, limit)
}

func TestAll(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	for i := range 1000 {
		_, err := memory.Put(t.Context(), taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, taskstore.Value{})
		require.NoError(t, err)
	}
	prefix := taskstore.Key{Owner: "o"}
	t.Run("ReadsPageByPage", func(t *testing.T) {
		pager := &countingPager{MemoryBackend: memory}
		n := 0
		for _, err := range taskstore.All(t.Context(), wrapper{pager}, prefix) {
			require.NoError(t, err)
			if n++; n == 10 {
				break
			}
		}
		assert.Equal(t, 1, pager.pages, "the rest is not asked for")
		n = 0
		for _, err := range taskstore.All(t.Context(), pager, prefix) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 1000, n)
		assert.Greater(t, pager.pages, 2)
	})
	t.Run("FallsBackToOneList", func(t *testing.T) {
		n := 0
		for _, err := range taskstore.All(t.Context(), plain{memory}, prefix) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 1000, n)
	})
	t.Run("StopsAfterAnError", func(t *testing.T) {
		for _, b := range []taskstore.StorageBackend{memory, plain{memory}} {
			n := 0
			for r, err := range taskstore.All(t.Context(), b, taskstore.Key{}) {
				assert.ErrorIs(t, err, taskstore.ErrInvalidKey)
				assert.Zero(t, r)
				n++
			}
			assert.Equal(t, 1, n)
		}
	})
}

// Errors and keys end up in logs, in every format there is. Owners, and task ids
// that may be all that guards a task, do not.
func TestOwnersAndTasksAreNotPrinted(t *testing.T) {
	key := taskstore.Key{Owner: "alice@example.com", Task: "unguessable"}
	for _, v := range []any{
		key,
		&key,
		taskstore.Record{Key: key},
		taskstore.Change{Key: key},
		&taskstore.VersionConflictError{Key: key, Expected: 1, Actual: 2},
		&taskstore.VersionConflictError{Key: key, Expected: 1},
		&taskstore.VersionConflictError{Key: key, Actual: 2},
		&taskstore.KeyError{Key: key, Reason: "the owner is empty"},
		&taskstore.CorruptError{Key: key, Reason: "version is missing", Err: errors.New("WRONGTYPE")},
		fmt.Errorf("wrapped: %w", &taskstore.VersionConflictError{Key: key}),
	} {
		var out bytes.Buffer
		fmt.Fprintf(&out, "%v %+v %#v %s %q\n", v, v, v, v, v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		if err, ok := v.(error); ok {
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", err)
			b, err := json.Marshal(v)
			require.NoError(t, err)
			out.Write(b)
		}
		assert.NotContains(t, out.String(), "alice", "%T", v)
		assert.NotContains(t, out.String(), "unguessable", "%T", v)
	}
}

func TestErrorsMatchTheirKinds(t *testing.T) {
	kinds := []error{
		taskstore.ErrNotFound, taskstore.ErrVersionConflict, taskstore.ErrCapacityExceeded, taskstore.ErrInvalidKey,
		taskstore.ErrInvalidCursor, taskstore.ErrInvalidArgument, taskstore.ErrCorrupt, taskstore.ErrOutcomeUnknown, taskstore.ErrClosed,
	}
	for _, c := range []struct {
		err     error
		matches []error
	}{
		{&taskstore.VersionConflictError{Expected: 1, Actual: 2}, []error{taskstore.ErrVersionConflict}},
		{&taskstore.VersionConflictError{Expected: 1}, []error{taskstore.ErrVersionConflict, taskstore.ErrNotFound}},
		{&taskstore.CapacityError{}, []error{taskstore.ErrCapacityExceeded}},
		{&taskstore.KeyError{}, []error{taskstore.ErrInvalidKey}},
		{&taskstore.ArgumentError{}, []error{taskstore.ErrInvalidArgument}},
		{&taskstore.CorruptError{}, []error{taskstore.ErrCorrupt}},
		{&taskstore.ConnectError{}, nil},
	} {
		var got []error
		for _, kind := range kinds {
			if errors.Is(fmt.Errorf("wrapped: %w", c.err), kind) {
				got = append(got, kind)
			}
		}
		assert.ElementsMatch(t, c.matches, got, "%T", c.err)
	}
}
