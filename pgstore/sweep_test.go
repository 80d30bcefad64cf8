package pgstore

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// Close waits for the sweep in progress, and leaves the sweep what it needs to end. Here a
// sweep goes on as Close begins to wait, in one order or the other.
func TestCloseLetsASweepEnd(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/")
	require.NoError(t, err)
	defer pool.Close()
	for range 500 {
		b, err := New(pool, nil)
		require.NoError(t, err)
		b.sweeper.running.Go(func() {
			<-b.ctx.Done()
			_, _, _ = b.sweeper.sweep(b.ctx, b)
		})
		closed := make(chan struct{})
		go func() { defer close(closed); _ = b.Close() }()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("Close hangs")
		}
	}
}
