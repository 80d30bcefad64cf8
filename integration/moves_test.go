//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// some moves these keys of the slot.
func (m *move) some(keys ...string) {
	host, port, _ := strings.Cut(m.to.Options().Addr, ":")
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	m.do(m.from, args...)
}

// While a slot moves key by key, the keys of an owner are on two nodes, and a script cannot
// have them all. Updates that keep the expiry go on, on either node, with the same answers as
// at any other time. Creates, deletes and changes of the expiry wait for the end of the move.
// If one of them runs out of time, its outcome is unknown, so these calls have records of
// their own. Reads of one record go on, even in a process that does not know the server's
// clock.
func TestUpdatesGoOnWhileASlotIsMovedKeyByKey(t *testing.T) {
	expiring := taskstore.Value{Data: []byte("hello"), ExpiresAt: time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()}
	for name, opts := range map[string]taskstore.RedisOptions{
		"Plain": {}, "AutoPipeline": {AutoPipeline: true}, "MinReplicas": {MinReplicas: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t)
			opts.Prefix = "p"
			b := storetest.Open(t, c.URL(), opts)
			lasting, mortal := taskstore.Key{Owner: "o", Task: "lasting"}, taskstore.Key{Owner: "o", Task: "mortal"}
			versions := map[taskstore.Key]taskstore.Version{}
			values := map[taskstore.Key]taskstore.Value{lasting: hello, mortal: expiring}
			for k, v := range values {
				_, err := b.PutIfVersion(ctx, k, v, 0)
				require.NoError(t, err)
				versions[k] = 1
			}
			ahead, behind := taskstore.Key{Owner: "o", Task: "ahead"}, taskstore.Key{Owner: "o", Task: "behind"}
			for _, k := range []taskstore.Key{ahead, behind} {
				_, err := b.PutIfVersion(ctx, k, hello, 0)
				require.NoError(t, err)
			}
			updates := func() {
				t.Helper()
				for k, v := range values {
					short, cancel := context.WithTimeout(ctx, 15*time.Second)
					var err error
					versions[k], err = b.PutIfVersion(short, k, v, versions[k])
					require.NoError(t, err)
					next, err := b.Put(short, k, v)
					require.NoError(t, err)
					require.Equal(t, versions[k]+1, next)
					versions[k] = next
					_, err = b.PutIfVersion(short, k, v, next+5)
					var conflict *taskstore.VersionConflictError
					require.ErrorAs(t, err, &conflict)
					assert.Equal(t, next, conflict.Actual)
					rec, err := b.Get(short, k)
					require.NoError(t, err)
					assert.Equal(t, next, rec.Version)
					assert.Equal(t, v, rec.Value)
					rec, err = storetest.Open(t, c.URL(), opts).Get(short, k)
					require.NoError(t, err)
					assert.Equal(t, next, rec.Version)
					cancel()
				}
			}
			waits := func(k taskstore.Key) {
				t.Helper()
				for what, call := range map[string]func(ctx context.Context) error{
					"create": func(ctx context.Context) error {
						_, err := b.PutIfVersion(ctx, taskstore.Key{Owner: "o", Task: "new"}, hello, 0)
						return err
					},
					"batch": func(ctx context.Context) error {
						return b.PutBatch(ctx, []taskstore.Write{{Key: k, Value: hello, Expected: 1}, {Key: taskstore.Key{Owner: "o", Collection: "other", Task: "new"}, Value: hello}})
					},
					"delete": func(ctx context.Context) error { _, err := b.Delete(ctx, k); return err },
					"expire": func(ctx context.Context) error {
						_, err := b.Put(ctx, k, taskstore.Value{ExpiresAt: time.Now().Add(time.Minute)})
						return err
					},
				} {
					short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
					err := call(short)
					cancel()
					assert.ErrorIs(t, err, context.DeadlineExceeded, what)
				}
			}
			updates()
			m := newMove(t, c, "p:idx:{o}")
			m.begin()
			updates()
			m.some("p:tasks:{o}:lasting", "p:tasks:{o}:ahead") // the indexes are behind
			updates()
			waits(ahead)
			m.some("p:idx:{o}", "p:exp:{o}") // the record of the other is behind
			updates()
			waits(behind)
			m.keys()
			updates()
			m.finish()
			updates()
			existed, err := b.Delete(ctx, lasting)
			require.NoError(t, err)
			assert.True(t, existed)
			require.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: taskstore.Key{Owner: "o", Task: "last"}, Value: hello}, {Key: mortal, Value: expiring, Expected: versions[mortal]}}))
			list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
			require.NoError(t, err)
			assert.Contains(t, tasksOf(list), "mortal")
			assert.NotContains(t, tasksOf(list), "lasting")
		})
	}
}
