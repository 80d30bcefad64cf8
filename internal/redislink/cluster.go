package redislink

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A clusterClient is what a client of a Cluster can do besides: tell which node
// has a key, and do something on all masters or all replicas.
type clusterClient interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ForEachMaster(ctx context.Context, f func(ctx context.Context, master *redis.Client) error) error
	ForEachSlave(ctx context.Context, f func(ctx context.Context, replica *redis.Client) error) error
}

// A slotMap is what goes on where a client of a Cluster learns anew which node has
// what.
type slotMap struct {
	mu   sync.Mutex
	done chan struct{} // closed when there is news; nil: nobody asks
}

// refreshTimes are how long the answer of a node is waited for. The client asks one
// that it picks, which may be the one that hangs.
var refreshTimes = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second}

// refreshPause is how long the news counts as new: so often nodes are asked at most.
const refreshPause = 100 * time.Millisecond

// RefreshSlots returns when the client of a Cluster has learned anew which node has
// what, or could not, or ctx is done. By itself go-redis learns of a failover up to
// a minute later, and its ReloadState in the background, when whoever asked has
// been to the old node again. However many need it, one refresh runs at a time.
func (l *Link) RefreshSlots(ctx context.Context) {
	if l.cluster == nil {
		return
	}
	r := &l.slots
	r.mu.Lock()
	done := r.done
	if done == nil {
		done = make(chan struct{})
		r.done = done
		go func() {
			askForSlots(l.cluster)
			close(done)
			time.AfterFunc(refreshPause, func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.done = nil
			})
		}()
	}
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func askForSlots(cluster clusterClient) {
	for _, limit := range refreshTimes {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		// It asks before it begins. If ctx ended that for it, it would begin with what it
		// knew, and not say so.
		_, err := Detach(ctx, func() (struct{}, error) {
			return struct{}{}, cluster.ForEachMaster(context.WithoutCancel(ctx), func(context.Context, *redis.Client) error { return nil })
		})
		cancel()
		if err == nil {
			return
		}
	}
}
