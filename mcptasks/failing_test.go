package mcptasks_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// A failing store gives the error that is set, if there is one.
type failing struct {
	taskstore.StorageBackend
	err atomic.Pointer[error]
}

var errAway = errors.New("the store is away")

func (f *failing) fail(err error) { f.err.Store(&err) }

// during has the store be away from now on, for d.
func (f *failing) during(d time.Duration) {
	f.fail(errAway)
	time.Sleep(d)
	f.fail(nil)
}

func (f *failing) failure() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// isTaskKey reports whether key is that of a task, as opposed to a record that belongs to
// one.
func isTaskKey(key taskstore.Key) bool {
	return key.Collection == "" && strings.HasPrefix(key.Owner, "u:")
}

// creates reports whether writes make a task, and removes whether they remove one.
func creates(writes []taskstore.Write) bool {
	return writes[0].Expected == 0 && isTaskKey(writes[0].Key)
}

func removes(writes []taskstore.Write) bool {
	return isTaskKey(writes[0].Key) && writes[0].ExpiresAt.Equal(time.UnixMilli(1))
}

func (f *failing) Unwrap() taskstore.StorageBackend { return f.StorageBackend }

func (f *failing) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	if err := f.failure(); err != nil {
		return taskstore.Record{}, err
	}
	return f.StorageBackend.Get(ctx, key)
}

func (f *failing) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	if err := f.failure(); err != nil {
		return 0, err
	}
	return f.StorageBackend.PutIfVersion(ctx, key, v, expected)
}

func (f *failing) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if err := f.failure(); err != nil {
		return err
	}
	return taskstore.PutBatch(ctx, f.StorageBackend, writes)
}

func (f *failing) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	if err := f.failure(); err != nil {
		return false, err
	}
	return f.StorageBackend.Delete(ctx, key)
}

func (f *failing) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, limit int) ([]taskstore.Record, string, error) {
	if err := f.failure(); err != nil {
		return nil, "", err
	}
	pager, _ := taskstore.As[taskstore.Pager](f.StorageBackend)
	return pager.ListPage(ctx, prefix, cursor, limit)
}

func (f *failing) Now(ctx context.Context) (time.Time, error) {
	if err := f.failure(); err != nil {
		return time.Time{}, err
	}
	return taskstore.Now(ctx, f.StorageBackend)
}
