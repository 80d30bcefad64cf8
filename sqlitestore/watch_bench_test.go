package sqlitestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// BenchmarkLook measures the look of a watching process at each interval, while it watches so
// many owners: without a change, and with one of another process.
func BenchmarkLook(b *testing.B) {
	for _, owners := range []int{1, 100, 10_000} {
		path := filepath.Join(b.TempDir(), "tasks.db")
		watching, err := Open(b.Context(), path, &Options{WatchInterval: time.Hour})
		require.NoError(b, err)
		other, err := Open(b.Context(), path, &Options{SynchronousNormal: true})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(b.Context())
		var ready, ended sync.WaitGroup
		ready.Add(owners)
		for i := range owners {
			ended.Go(func() {
				for c := range watching.Watch(ctx, taskstore.Key{Owner: fmt.Sprint(i)}) {
					if c.Resync {
						ready.Done()
					}
				}
			})
		}
		ready.Wait()
		conn, err := watching.read.Conn(b.Context())
		require.NoError(b, err)
		l := &look{conn: conn, hub: &watching.feed.hub}
		require.NoError(b, l.prepare(b.Context()))
		b.Run(fmt.Sprintf("Idle/owners=%d", owners), func(b *testing.B) {
			for range b.N {
				require.NoError(b, l.changed())
			}
		})
		b.Run(fmt.Sprintf("Changed/owners=%d", owners), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				_, err := other.Put(b.Context(), taskstore.Key{Owner: "0", Task: "t"}, taskstore.Value{})
				require.NoError(b, err)
				b.StartTimer()
				require.NoError(b, l.changed())
				require.NoError(b, l.hint())
			}
		})
		l.close()
		cancel()
		ended.Wait()
		require.NoError(b, watching.Close())
		require.NoError(b, other.Close())
	}
}

// BenchmarkHint measures from the start of a Put to the hint of it, in the process that
// writes and in another.
func BenchmarkHint(b *testing.B) {
	path := filepath.Join(b.TempDir(), "tasks.db")
	own, err := Open(b.Context(), path, nil)
	require.NoError(b, err)
	defer own.Close()
	other, err := Open(b.Context(), path, nil)
	require.NoError(b, err)
	defer other.Close()
	for name, watching := range map[string]*Backend{"OwnProcess": own, "OtherProcess": other} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for range watching.Watch(b.Context(), taskstore.Key{Owner: "o"}) {
				if n++; n > b.N {
					break
				}
				_, err := own.Put(b.Context(), taskstore.Key{Owner: "o", Task: "t"}, taskstore.Value{})
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkSize reports the bytes that a task takes of the file, and the bytes that an update
// of one writes to the log.
func BenchmarkSize(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("data=%d", size), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "tasks.db")
			s, err := Open(b.Context(), path, &Options{SynchronousNormal: true})
			require.NoError(b, err)
			defer s.Close()
			_, err = s.w.conn.ExecContext(b.Context(), "PRAGMA wal_autocheckpoint = 0")
			require.NoError(b, err)
			const n = 1000
			v := taskstore.Value{Data: make([]byte, size), ExpiresAt: time.Now().Add(time.Hour)}
			key := func(i int) taskstore.Key {
				return taskstore.Key{Owner: fmt.Sprintf("owner-%07d", i/100), Task: fmt.Sprintf("0123456789abcdef0123-%07d", i)}
			}
			length := func(suffix string) float64 {
				_, err := s.w.conn.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
				require.NoError(b, err)
				info, err := os.Stat(path + suffix)
				require.NoError(b, err)
				return float64(info.Size())
			}
			empty := length("")
			for i := range n {
				_, err := s.Put(b.Context(), key(i), v)
				require.NoError(b, err)
			}
			b.ReportMetric((length("")-empty)/n, "bytes/task")
			for i := range n {
				_, err := s.PutIfVersion(b.Context(), key(i), v, 1)
				require.NoError(b, err)
			}
			info, err := os.Stat(path + "-wal")
			require.NoError(b, err)
			b.ReportMetric(float64(info.Size())/n, "log-bytes/update")
			b.ReportMetric(0, "ns/op")
		})
	}
}
