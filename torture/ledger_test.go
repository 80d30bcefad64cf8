package torture

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestLedgerOfAGoodBackendBalances(t *testing.T) {
	l, b := &Ledger{Owner: "owner", Name: "ledger"}, taskstore.NewMemoryBackend(nil)
	var writers sync.WaitGroup
	for range 4 {
		w := &Writer{Ledger: l, Backend: b}
		writers.Go(func() {
			for n := 0; n < 200; {
				if w.Append(ctx) {
					n++
				}
			}
		})
	}
	writers.Wait()
	a, err := l.Audit(ctx, b)
	require.NoError(t, err)
	a.Longest = 0
	assert.Equal(t, Audit{Acknowledged: 800}, a)
	assert.Equal(t, 8, l.pages)
}

// lying is a backend that reports another outcome of a write than the one it had.
type lying struct {
	taskstore.StorageBackend
	lie func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error)
}

func (b lying) PutIfVersion(_ context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	return b.lie(b.StorageBackend, key, v, expected)
}

func TestLedgerFindsWrongAnswers(t *testing.T) {
	conflict := func(key taskstore.Key) error { return &taskstore.VersionConflictError{Key: key} }
	for name, c := range map[string]struct {
		lie  func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error)
		want Audit
	}{
		"lost": {func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
			return expected + 1, nil
		}, Audit{Acknowledged: 1, Lost: 1}},
		"wrong version": {func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
			n, err := b.PutIfVersion(ctx, key, v, expected)
			return n + 1, err
		}, Audit{Acknowledged: 1, WrongSuccesses: 1}},
		"wrong conflict": {func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
			_, _ = b.PutIfVersion(ctx, key, v, expected)
			return 0, conflict(key)
		}, Audit{WrongConflicts: 1}},
		"right conflict": {func(_ taskstore.StorageBackend, key taskstore.Key, _ taskstore.Value, _ taskstore.Version) (taskstore.Version, error) {
			return 0, conflict(key)
		}, Audit{}},
		"unknown": {func(b taskstore.StorageBackend, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
			_, _ = b.PutIfVersion(ctx, key, v, expected)
			return 0, taskstore.ErrOutcomeUnknown
		}, Audit{Unknown: 1}},
		"failed": {func(taskstore.StorageBackend, taskstore.Key, taskstore.Value, taskstore.Version) (taskstore.Version, error) {
			return 0, errors.New("failed")
		}, Audit{Failed: 1}},
	} {
		l, b := &Ledger{Owner: "owner", Name: name}, taskstore.NewMemoryBackend(nil)
		w := &Writer{Ledger: l, Backend: lying{b, c.lie}}
		w.Append(ctx)
		got, err := l.Audit(ctx, b)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, name)
	}
}
