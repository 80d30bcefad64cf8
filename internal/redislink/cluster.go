package redislink

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A clusterClient has the further methods of a Cluster's client: find the node that has a
// key, and visit all masters or all replicas.
type clusterClient interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ForEachMaster(ctx context.Context, f func(ctx context.Context, master *redis.Client) error) error
	ForEachSlave(ctx context.Context, f func(ctx context.Context, replica *redis.Client) error) error
}

// A slotMap coordinates the refreshes of the slot map in a Cluster's client.
type slotMap struct {
	mu   sync.Mutex
	done chan struct{} // closed when the refresh has ended; nil: none is under way or recent
}

// refreshTimes are the timeouts of the attempts of one refresh. The client asks a node of
// its choice, which may be the one that hangs.
var refreshTimes = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second}

// refreshPause is how long a refresh counts as recent: nodes are asked at most this often.
const refreshPause = 100 * time.Millisecond

// RefreshSlots has the client of a Cluster read its slot map again. It returns when the
// client has succeeded or failed, or when ctx is done. go-redis by itself notices a
// failover up to a minute later. Its ReloadState works in the background, so the caller
// would go to the old node once more. One refresh runs at a time, for all callers that need
// it.
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
		// ForEachMaster reloads the slot map first. If ctx ended the reload, it would go on
		// with the old map and report no error.
		_, err := Detach(ctx, func() (struct{}, error) {
			return struct{}{}, cluster.ForEachMaster(context.WithoutCancel(ctx), func(context.Context, *redis.Client) error { return nil })
		})
		cancel()
		if err == nil {
			return
		}
	}
}
