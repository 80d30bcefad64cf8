package sqlitestore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// SQLite answers every call as memory does, the reference of the contract: with the same
// records, versions and errors.
func TestSQLiteAnswersAsMemoryDoes(t *testing.T) {
	runs := 20
	if large {
		runs = 1000
	}
	for seed := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed, 1))
		memory := taskstore.NewMemoryBackend(&taskstore.MemoryOptions{MaxRecordsPerOwner: 4, MaxDataBytes: 3})
		backends := several(t, 2, sqlitestore.Options{MaxRecordsPerOwner: 4, MaxDataBytes: 3, SynchronousNormal: true})
		for step := range 150 {
			call := randomCall(random)
			want := call(t.Context(), memory)
			require.Equal(t, want, call(t.Context(), backends[random.IntN(2)]), "seed %d, step %d", seed, step)
		}
		for _, b := range backends {
			require.NoError(t, b.Close())
		}
	}
}

// randomCall returns a call on few keys, as a function that prints all that it returned.
func randomCall(random *rand.Rand) func(context.Context, taskstore.StorageBackend) string {
	key := func() taskstore.Key {
		return taskstore.Key{
			Owner:      []string{"a", "b", "\xff"}[random.IntN(3)],
			Collection: []string{"", "", "c", "\x00"}[random.IntN(4)],
			Task:       []string{"t", "tt", "t\xff", "\xff", "\xff\xff", "u", "v"}[random.IntN(7)],
		}
	}
	value := func() taskstore.Value {
		v := taskstore.Value{Data: []byte("data"[:random.IntN(5)])}
		switch random.IntN(6) {
		case 0:
			v.ExpiresAt = time.UnixMilli(1 + random.Int64N(1000))
		case 1:
			v.ExpiresAt = time.UnixMilli(4e12 + random.Int64N(1000))
		}
		return v
	}
	version := func() taskstore.Version { return taskstore.Version(random.IntN(4)) }
	k, v, expected, limit := key(), value(), version(), random.IntN(5)
	switch random.IntN(9) {
	case 0:
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			r, err := b.Get(ctx, k)
			return told([]taskstore.Record{r}, err)
		}
	case 1:
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			n, err := b.Put(taskstore.WithRecordLimit(ctx, limit), k, v)
			return told(nil, err) + fmt.Sprint(n)
		}
	case 2:
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			existed, err := b.Delete(ctx, k)
			return told(nil, err) + fmt.Sprint(existed)
		}
	case 3, 4:
		prefix := k
		prefix.Task = prefix.Task[:random.IntN(len(prefix.Task)+1)]
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			records, err := b.ListByPrefix(ctx, prefix)
			page, _, pageErr := b.(taskstore.Pager).ListPage(ctx, prefix, "", limit+1)
			return told(records, err) + told(page, pageErr)
		}
	case 5, 6:
		var writes []taskstore.Write
		for range 1 + random.IntN(5) {
			w := taskstore.Write{Key: key(), Value: value(), Expected: version(), MaxRecords: random.IntN(4) - 1}
			if random.IntN(8) > 0 {
				w.Key.Owner = k.Owner
			}
			if random.IntN(3) == 0 {
				w.Expected = taskstore.AnyVersion
			}
			writes = append(writes, w)
		}
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			return told(nil, taskstore.PutBatch(ctx, b, writes))
		}
	default:
		return func(ctx context.Context, b taskstore.StorageBackend) string {
			n, err := b.PutIfVersion(ctx, k, v, expected)
			return told(nil, err) + fmt.Sprint(n)
		}
	}
}

func told(records []taskstore.Record, err error) string {
	var s strings.Builder
	for _, r := range records {
		fmt.Fprintf(&s, "%q %q %q %d %q %v; ", r.Key.Owner, r.Key.Collection, r.Key.Task, r.Version, r.Data, r.ExpiresAt)
	}
	fmt.Fprintf(&s, "%T %v ", err, err)
	return s.String()
}
