//go:build integration

package torture

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
)

// A compare-and-swap with a lost answer mostly still learns its outcome: always as the
// only writer of the record, and in most cases beside one other that writes all the
// time.
func TestLostAnswersAreFoundOut(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			mostOfTwo := 0.5 // on a machine that is busy with other tests
			if long {
				mostOfTwo = 0.2
			}
			for writers, most := range map[int]float64{1: 0, 2: mostOfTwo} {
				lost, unknown := loseAnswers(t, open, writers, either(0, 200, 2000))
				t.Logf("%d writers: of %d calls whose answer was lost, %d ended with an unknown outcome (%.1f%%)",
					writers, lost, unknown, 100*float64(unknown)/float64(lost))
				assert.LessOrEqual(t, float64(unknown), most*float64(lost), "%d writers", writers)
			}
		})
	}
}

// loseAnswers has writers update one record until enough of their calls have lost an
// answer, and returns how many have and of how many of these the outcome is unknown.
func loseAnswers(t *testing.T, open open, writers, enough int) (lost, unknown int) {
	key := taskstore.Key{Owner: "owner", Task: "task"}
	opts := taskstore.RedisOptions{Prefix: uuid.NewString()}
	first, err := backend(t, open, nil, opts).PutIfVersion(ctx, key, taskstore.Value{}, 0)
	require.NoError(t, err)
	var mu sync.Mutex // of the results
	var all sync.WaitGroup
	for id := range writers {
		// A proxy of its own tells which calls lost an answer.
		proxy := newProxy(t)
		b := backend(t, open, proxy, opts)
		proxy.Set(faultproxy.Faults{
			Seed: firstSeed() + uint64(id), DropReply: 0.1, Match: faultproxy.Commands("eval", "evalsha"),
		})
		all.Go(func() {
			version := first
			for range enough * 100 {
				before := proxy.Counts().RepliesLost
				v, err := b.PutIfVersion(ctx, key, taskstore.Value{}, version)
				var conflict *taskstore.VersionConflictError
				outcome := errors.Is(err, taskstore.ErrOutcomeUnknown)
				switch {
				case err == nil:
					version = v
				case errors.As(err, &conflict):
					version = conflict.Actual
				case outcome:
					rec, err := b.Get(ctx, key)
					if !assert.NoError(t, err) {
						return
					}
					version = rec.Version
				default:
					assert.NoError(t, err)
					return
				}
				mu.Lock()
				if proxy.Counts().RepliesLost > before {
					lost++
				}
				if outcome {
					unknown++
				}
				done := lost >= enough
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, lost, enough)
	return lost, unknown
}
