//go:build integration

package integration

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// storeOn returns a store with records to write over, on a server of its own.
func storeOn(t *testing.T, server *redistest.Server, opts taskstore.RedisOptions) storetest.Store {
	opts.Prefix = "p"
	s := storetest.Store{RedisBackend: storetest.Open(t, server.URL(), opts), Prefix: "p", Client: redis.NewClient(&redis.Options{Addr: server.Addr()})}
	t.Cleanup(func() { _ = s.Client.Close() })
	for task, v := range map[string]taskstore.Value{"goes": hello, "goes too": lasts, "permanent": hello, "expires": lasts, "past": lasts} {
		_, err := s.Put(ctx, taskOf("", task), v)
		require.NoError(t, err)
	}
	past(t, s, taskOf("", "past"), time.Now().Add(-time.Millisecond))
	return s
}

// refusedBatches are batches that begin in all the ways there are. A server that refuses
// writes refuses each as a whole, even if its first write only frees memory.
var refusedBatches = map[string][]taskstore.Write{
	"Expiring": {{Key: taskOf("", "new"), Value: lasts}, {Key: taskOf("other", "new"), Value: lasts, Expected: taskstore.AnyVersion}},
	"Creates":  {{Key: taskOf("", "new"), Value: lasts}, {Key: taskOf("other", "new"), Value: hello}},
	"Update":   {{Key: taskOf("", "permanent"), Value: text("x"), Expected: 1}, {Key: taskOf("", "goes"), Value: gone, Expected: 1}},
	"Expiry":   {{Key: taskOf("", "permanent"), Value: lasts, Expected: 1}, {Key: taskOf("", "expires"), Value: hello, Expected: 1}},
	"Past":     {{Key: taskOf("", "past"), Value: lasts}, {Key: taskOf("", "goes"), Value: gone, Expected: 1}},
	"RemovalAndCreate": {{Key: taskOf("", "goes"), Value: gone, Expected: 1}, {Key: taskOf("", "goes too"), Value: gone, Expected: taskstore.AnyVersion},
		{Key: taskOf("other", "new"), Value: lasts}},
	"RemovalAndUpdate":     {{Key: taskOf("", "goes"), Value: gone, Expected: 1}, {Key: taskOf("", "permanent"), Value: text("x"), Expected: 1}},
	"RemovalAndPast":       {{Key: taskOf("", "goes"), Value: gone, Expected: 1}, {Key: taskOf("", "past"), Value: hello}},
	"RemovalOfNoneAndMore": {{Key: taskOf("", "none"), Value: gone}, {Key: taskOf("", "new"), Value: hello}},
}

var removals = []taskstore.Write{{Key: taskOf("", "goes"), Value: gone, Expected: 1}, {Key: taskOf("", "goes too"), Value: gone, Expected: 1}}

func TestRedisRefusedBatchesChangeNoRecord(t *testing.T) {
	t.Run("OutOfMemory", func(t *testing.T) {
		s := storeOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"), taskstore.RedisOptions{})
		require.NoError(t, s.PutBatch(ctx, []taskstore.Write{{Key: taskOf("third", "x"), Value: hello}}), "the server has the script")
		before := dump(t, s)
		require.NoError(t, s.Client.ConfigSet(ctx, "maxmemory", "1").Err())
		for name, batch := range refusedBatches {
			err := s.PutBatch(ctx, batch)
			assert.ErrorIs(t, err, taskstore.ErrCapacityExceeded, name)
			assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, name)
			assert.Equal(t, before, dump(t, s), name)
		}
		require.NoError(t, s.PutBatch(ctx, removals), "writes that free memory succeed")
	})
	short := func(s storetest.Store, batch []taskstore.Write) error {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		return s.PutBatch(ctx, batch)
	}
	refuses := func(t *testing.T, s storetest.Store, says string) {
		before := dump(t, s)
		for name, batch := range refusedBatches {
			err := short(s, batch)
			assert.ErrorIs(t, err, context.DeadlineExceeded, "%s: it goes on trying until then", name)
			assert.ErrorContains(t, err, says, name)
			assert.Equal(t, before, dump(t, s), name)
		}
		assert.ErrorContains(t, short(s, removals), says)
		assert.Equal(t, before, dump(t, s))
	}
	t.Run("TooFewReplicas", func(t *testing.T) {
		s := storeOn(t, redistest.Start(t), taskstore.RedisOptions{})
		require.NoError(t, s.Client.ConfigSet(ctx, "min-replicas-to-write", "1").Err())
		refuses(t, s, "NOREPLICAS")
	})
	t.Run("Replica", func(t *testing.T) {
		s := storeOn(t, redistest.Start(t), taskstore.RedisOptions{})
		// A replica of a silent master stays out of step with it, and keeps its records.
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = silent.Close() })
		_, port, err := net.SplitHostPort(silent.Addr().String())
		require.NoError(t, err)
		require.NoError(t, s.Client.Do(ctx, "replicaof", "127.0.0.1", port).Err())
		refuses(t, s, "replica")
	})
}

// A batch that succeeded is on the replicas, and one that has failed for their sake is
// not said to have succeeded.
func TestBatchesAreAcknowledgedByReplicas(t *testing.T) {
	s := redistest.StartSentinel(t)
	b := storetest.Open(t, s.URL(), taskstore.RedisOptions{MinReplicas: 2, ReplicaTimeout: 150 * time.Millisecond, Prefix: "p"})
	awaitReplicas(t, b)
	batch := []taskstore.Write{{Key: taskOf("", "first"), Value: hello}, {Key: taskOf("other", "second"), Value: lasts}}
	require.NoError(t, b.PutBatch(ctx, batch))
	for _, replica := range s.Replicas {
		c := redis.NewClient(&redis.Options{Addr: replica.Addr()})
		assert.Equal(t, "1", c.HGet(ctx, "p:tasks:{o}:first", "version").Val())
		assert.Equal(t, "1", c.HGet(ctx, "p:tasks:{o}.other:second", "version").Val())
		require.NoError(t, c.Close())
	}
	s.Replicas[0].Suspend()
	defer s.Replicas[0].Resume()
	batch[0].Expected, batch[1].Expected = 1, 1
	err := b.PutBatch(ctx, batch)
	assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	assert.ErrorContains(t, err, "1 of 2 replicas")
	rec, err := b.Get(ctx, batch[1].Key)
	require.NoError(t, err)
	assert.EqualValues(t, 2, rec.Version, "it is applied")
	assert.ErrorIs(t, refusedAt(t, 0, b.PutBatch(ctx, batch)), taskstore.ErrVersionConflict, "a refusal needs no replica")
}
