package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// several opens the file at path n times, as n processes do.
func several(tb testing.TB, n int, opts sqlitestore.Options) (backends []*sqlitestore.Backend) {
	path := filepath.Join(tb.TempDir(), "tasks.db")
	for range n {
		backends = append(backends, open(tb, path, &opts))
	}
	return backends
}

// A limit is exact among any number of writers, expired records or not.
func TestLimitsAreExactForAThousandRacers(t *testing.T) {
	const racers, limit = 1000, 100
	backends := several(t, 4, sqlitestore.Options{MaxRecordsPerOwner: limit, SynchronousNormal: true})
	soon := time.Now().Add(50 * time.Millisecond)
	for i := range limit / 2 {
		_, err := backends[0].Put(t.Context(), taskstore.Key{Owner: "o", Task: fmt.Sprint("old-", i)}, taskstore.Value{ExpiresAt: soon})
		require.NoError(t, err)
	}
	wait(t, "the first records expire", func() bool { return time.Now().After(soon.Add(time.Millisecond)) })
	var created, refused atomic.Int64
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			_, err := backends[i%len(backends)].PutIfVersion(t.Context(), taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, taskstore.Value{}, 0)
			switch {
			case err == nil:
				created.Add(1)
			case errors.Is(err, taskstore.ErrCapacityExceeded):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, limit, created.Load())
	assert.EqualValues(t, racers-limit, refused.Load())
	records, err := backends[0].ListByPrefix(t.Context(), taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, records, limit)
}

// A walk over pages returns each record that lives through it once, in order, while others
// come and go by other backends.
func TestPagesAreExactUnderChurn(t *testing.T) {
	backends := several(t, 3, sqlitestore.Options{SynchronousNormal: true})
	const staying = 300
	for i := range staying {
		for _, key := range []taskstore.Key{{Owner: "o", Task: fmt.Sprintf("stays-%03d", i)}, {Owner: "o", Task: fmt.Sprintf("goes-%03d", i)}} {
			_, err := backends[0].Put(t.Context(), key, taskstore.Value{})
			require.NoError(t, err)
		}
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for w, b := range backends[:2] {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				goes := taskstore.Key{Owner: "o", Task: fmt.Sprintf("goes-%03d", (i*2+w)%staying)}
				if _, err := b.Delete(t.Context(), goes); err != nil {
					t.Error(err)
					return
				}
				for _, key := range []taskstore.Key{goes, {Owner: "o", Task: fmt.Sprintf("stays-%03d", i%staying)}} {
					if _, err := b.Put(t.Context(), key, taskstore.Value{}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for _, prefix := range []string{"", "stays-"} {
		for range 10 {
			var seen []string
			for cursor, started := "", false; cursor != "" || !started; started = true {
				page, next, err := backends[2].ListPage(t.Context(), taskstore.Key{Owner: "o", Task: prefix}, cursor, 37)
				require.NoError(t, err)
				for _, r := range page {
					if r.Key.Task[0] == 's' {
						seen = append(seen, r.Key.Task)
					}
				}
				cursor = next
			}
			require.Len(t, seen, staying)
			require.IsIncreasing(t, seen)
		}
	}
	close(stop)
	all.Wait()
}

// A backend that was far behind, stopped for a while, say, is told to look at everything.
func TestWatchersThatMissedChangesResync(t *testing.T) {
	backends := several(t, 2, sqlitestore.Options{SynchronousNormal: true, WatchInterval: time.Hour})
	key := taskstore.Key{Owner: "o", Task: "t"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var resyncs int
	for c, err := range backends[0].Watch(ctx, taskstore.Key{Owner: "o"}) {
		require.NoError(t, err)
		if c.Resync {
			resyncs++
		}
		if resyncs == 2 {
			break
		}
		if !c.Resync {
			continue
		}
		var all sync.WaitGroup
		for w := range 20 {
			all.Go(func() {
				for i := range 250 {
					if _, err := backends[1].Put(t.Context(), taskstore.Key{Owner: "other", Task: fmt.Sprint(w, i)}, taskstore.Value{}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		_, err := backends[0].Put(t.Context(), key, taskstore.Value{}) // has it look
		require.NoError(t, err)
	}
	assert.Equal(t, 2, resyncs)
}

// The writes of other processes are hinted in their order, removals too, to those that
// watch them.
func TestWatchersHearOfOtherProcesses(t *testing.T) {
	backends := several(t, 2, sqlitestore.Options{WatchInterval: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key := taskstore.Key{Owner: "o", Collection: "c", Task: "t1"}
	others := []taskstore.Key{{Owner: "o", Task: "t1"}, {Owner: "p", Collection: "c", Task: "t1"}, {Owner: "o", Collection: "c", Task: "u"}}
	var hints []taskstore.Change
	for c, err := range backends[0].Watch(ctx, taskstore.Key{Owner: "o", Collection: "c", Task: "t"}) {
		require.NoError(t, err)
		hints = append(hints, c)
		for _, other := range others {
			_, err := backends[1].Put(ctx, other, taskstore.Value{})
			require.NoError(t, err)
		}
		switch len(hints) {
		case 1, 2:
			_, err = backends[1].Put(ctx, key, taskstore.Value{})
		case 3:
			_, err = backends[1].Delete(ctx, key)
		}
		require.NoError(t, err)
		if len(hints) == 4 {
			break
		}
	}
	assert.Equal(t, []taskstore.Change{
		{Key: taskstore.Key{Owner: "o", Collection: "c", Task: "t"}, Resync: true},
		{Key: key, Version: 1}, {Key: key, Version: 2}, {Key: key},
	}, hints)
}
