//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A resending is a backend whose writes meet faults, and another one on the same
// records whose writes meet none.
type resending struct {
	t     *testing.T
	proxy *faultproxy.Proxy
	mine  *taskstore.RedisBackend // through the proxy
	other *taskstore.RedisBackend
	key   taskstore.Key

	neighbour taskstore.Key // of which there is no record
	value     func(data string) taskstore.Value
}

// onEachClient runs a test for each kind of client, as it resends by default, with
// commands that go by themselves and with AutoPipeline.
func onEachClient(t *testing.T, opts taskstore.RedisOptions, test func(r *resending)) {
	onEachClientAsItIs(t, opts, test)
	opts.AutoPipeline = true
	t.Run("AutoPipeline", func(t *testing.T) { onEachClientAsItIs(t, opts, test) })
}

// onEachClientAsItIs runs a test for each kind of client with these options.
func onEachClientAsItIs(t *testing.T, opts taskstore.RedisOptions, test func(r *resending)) {
	kinds := map[string]func(t *testing.T, p *faultproxy.Proxy) redis.UniversalClient{
		"Server": func(t *testing.T, p *faultproxy.Proxy) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr(), Dialer: p.Dial})
		},
		"Sentinel": func(t *testing.T, p *faultproxy.Proxy) redis.UniversalClient {
			s := redistest.SharedSentinel(t)
			return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs(), Dialer: p.Dial})
		},
		"Cluster": func(t *testing.T, p *faultproxy.Proxy) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: redistest.SharedCluster(t).Addrs(), Dialer: p.Dial})
		},
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(resendingOn(t, opts, func(p *faultproxy.Proxy) redis.UniversalClient { return open(t, p) }))
		})
	}
}

// resendingOn returns one on clients that open makes.
func resendingOn(t *testing.T, opts taskstore.RedisOptions, open func(p *faultproxy.Proxy) redis.UniversalClient) *resending {
	r := &resending{t: t, proxy: faultproxy.New(), key: taskstore.Key{Owner: uuid.NewString(), Task: "task"}}
	r.neighbour, r.value = taskstore.Key{Owner: r.key.Owner, Task: "neighbour"}, lasting
	t.Cleanup(r.proxy.Close)
	opts.Prefix = uuid.NewString()
	through := func(p *faultproxy.Proxy) *taskstore.RedisBackend {
		client := open(p)
		t.Cleanup(func() { _ = client.Close() })
		b, err := taskstore.NewRedisBackend(client, &opts)
		require.NoError(t, err)
		return b
	}
	straight := faultproxy.New()
	t.Cleanup(straight.Close)
	r.mine, r.other = through(r.proxy), through(straight)
	r.loadScripts()
	return r
}

// loadScripts has the server know the scripts, so that what meets a fault is a write
// and not the question for a script.
func (r *resending) loadScripts() {
	_, err := r.other.Put(ctx, r.key, text("first"))
	require.NoError(r.t, err)
	_, err = r.other.PutIfVersion(ctx, r.key, text("second"), 1)
	require.NoError(r.t, err)
	_, err = r.other.ListByPrefix(ctx, r.key)
	require.NoError(r.t, err)
	_, err = r.other.Delete(ctx, r.key)
	require.NoError(r.t, err)
}

// next has the next write of r.mine meet fault, and calls between before the write
// is sent again.
func (r *resending) next(fault faultproxy.Fault, between func()) {
	copies := 0
	r.proxy.Set(faultproxy.Faults{Plan: []faultproxy.Fault{fault}, Match: func(args []string) bool {
		if !isWrite(args) {
			return false
		}
		if copies++; copies == 2 && between != nil {
			between()
		}
		return copies == 1
	}})
}

// isWrite reports whether a command is a script that writes.
func isWrite(args []string) bool {
	return strings.HasPrefix(strings.ToLower(args[0]), "eval") && strings.Contains(args[3], ":tasks:")
}

// aged makes a record that is old enough not to be taken for a successor.
func (r *resending) aged(key taskstore.Key, v taskstore.Value) {
	_, err := r.other.Put(ctx, key, v)
	require.NoError(r.t, err)
	r.passes(250 * time.Millisecond) // more than a resend is held up on a busy machine
}

// passes waits until the server's time is later by d.
func (r *resending) passes(d time.Duration) {
	begin := r.now()
	require.Eventually(r.t, func() bool { return r.now().Sub(begin) > d }, 5*time.Second, time.Millisecond)
}

func (r *resending) now() time.Time {
	now, err := r.other.Now(ctx)
	require.NoError(r.t, err)
	return now
}

// others writes n times.
func (r *resending) others(n int) func() {
	return func() {
		for range n {
			_, err := r.other.Put(ctx, r.key, text("other"))
			assert.NoError(r.t, err)
		}
	}
}

func (r *resending) want(v taskstore.Version, data string) {
	r.t.Helper()
	rec, err := r.other.Get(ctx, r.key)
	require.NoError(r.t, err)
	assert.Equal(r.t, v, rec.Version)
	assert.Equal(r.t, data, string(rec.Data))
}

func text(s string) taskstore.Value { return taskstore.Value{Data: []byte(s)} }

const (
	lost = faultproxy.DropReply // applied
	cut  = faultproxy.CutBefore // not applied
)

func TestResentPutIsAppliedOnce(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for want := range taskstore.Version(3) {
			r.next(lost, nil)
			v, err := r.mine.Put(ctx, r.key, text("mine"))
			require.NoError(r.t, err)
			assert.Equal(r.t, want+1, v)
		}
		r.want(3, "mine")

		r.next(lost, r.others(3))
		v, err := r.mine.Put(ctx, r.key, text("lost"))
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 4, v, "the version that it made, not the present one")
		r.want(7, "other")

		r.next(cut, r.others(1))
		v, err = r.mine.Put(ctx, r.key, text("last"))
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 9, v)
		r.want(9, "last")
	})
}

func TestResentPutThatIsNotRecognisedIsAppliedAgain(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.next(lost, r.others(8))
		v, err := r.mine.Put(ctx, r.key, text("mine"))
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 10, v)
		r.want(10, "mine")
	})
}

func TestResentPutIfVersionIsAppliedOnce(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			key := taskstore.Key{Owner: r.key.Owner, Task: uuid.NewString()}
			r.next(fault, nil)
			v, err := r.mine.PutIfVersion(ctx, key, text("mine"), 0)
			require.NoError(r.t, err)
			assert.EqualValues(r.t, 1, v)
		}
		r.aged(r.key, text("first"))
		for expected := taskstore.Version(1); expected < 4; expected++ {
			for _, fault := range []faultproxy.Fault{lost, cut} {
				if fault == cut {
					expected++
				}
				r.next(fault, nil)
				v, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), expected)
				require.NoError(r.t, err)
				assert.Equal(r.t, expected+1, v)
				r.want(expected+1, "mine")
			}
		}
	})
}

func TestResentPutIfVersionThatWonIsNoConflict(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.next(lost, r.others(7))
		v, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 2, v)
		r.want(9, "other")

		created := taskstore.Key{Owner: r.key.Owner, Task: "created"}
		r.next(lost, func() {
			_, err := r.other.PutIfVersion(ctx, created, text("other"), 1)
			assert.NoError(r.t, err)
		})
		v, err = r.mine.PutIfVersion(ctx, created, text("mine"), 0)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 1, v)
	})
}

// A record remembers the ids of its last 8 writes, also of those that change its expiry.
func TestResentWriteIsFoundAmongWritesThatChangeTheExpiry(t *testing.T) {
	onEachClientAsItIs(t, taskstore.RedisOptions{}, func(r *resending) {
		changed := time.Now().Add(time.Hour)
		change := func() {
			for range 7 {
				changed = changed.Add(time.Second)
				_, err := r.other.Put(ctx, r.key, taskstore.Value{Data: []byte("other"), ExpiresAt: changed})
				assert.NoError(r.t, err)
			}
		}
		r.aged(r.key, text("first"))
		r.next(lost, change)
		v, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 2, v)
		r.want(9, "other")
		r.next(lost, change)
		v, err = r.mine.Put(ctx, r.key, taskstore.Value{ExpiresAt: changed.Add(time.Minute)})
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 10, v)
		r.want(17, "other")
	})
}

func TestResentPutIfVersionThatLostIsAConflict(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		conflict := func(err error, actual taskstore.Version) {
			r.t.Helper()
			var c *taskstore.VersionConflictError
			require.ErrorAs(r.t, err, &c)
			assert.Equal(r.t, actual, c.Actual)
		}
		r.aged(r.key, text("first"))
		r.next(cut, r.others(1))
		_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
		conflict(err, 2)
		r.next(cut, r.others(6))
		_, err = r.mine.PutIfVersion(ctx, r.key, text("mine"), 2)
		conflict(err, 8)
		r.next(cut, r.others(8))
		_, err = r.mine.PutIfVersion(ctx, r.key, text("mine"), 8)
		conflict(err, 16)
		for _, fault := range []faultproxy.Fault{lost, cut} {
			for _, expected := range []taskstore.Version{0, 8, 15} {
				r.next(fault, nil)
				_, err = r.mine.PutIfVersion(ctx, r.key, text("mine"), expected)
				conflict(err, 16)
			}
		}
		r.want(16, "other")

		r.next(faultproxy.Delay, nil)
		_, err = r.mine.PutIfVersion(ctx, r.key, text("mine"), 17)
		assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown, "the first copy may meet version 17 yet")
		r.others(1)()
		r.proxy.Release()
		r.want(18, "mine")
	})
}

// Where more writes came between than a record remembers, nobody can tell.
func TestResentPutIfVersionAfterManyWritesIsUnknown(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.key.Task = uuid.NewString()
			r.aged(r.key, text("first"))
			r.next(fault, r.others(9))
			_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
			assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
			assert.NotErrorIs(r.t, err, taskstore.ErrVersionConflict)
		}
	})
}

// A record that was made since the write was first sent may be the successor of the
// one that the write has made or changed.
func TestResentWritesLeaveSuccessorsAlone(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		replace := func() {
			_, err := r.other.Delete(ctx, r.key)
			assert.NoError(r.t, err)
			_, err = r.other.Put(ctx, r.key, text("successor"))
			assert.NoError(r.t, err)
		}
		for _, fault := range []faultproxy.Fault{lost, cut} {
			for expected := range taskstore.Version(2) {
				r.key.Task = uuid.NewString()
				if expected == 1 {
					r.aged(r.key, text("first"))
				}
				r.next(fault, replace)
				_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), expected)
				assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
				r.want(1, "successor")
			}
			r.aged(r.key, text("old"))
			r.next(fault, replace)
			_, err := r.mine.Delete(ctx, r.key)
			assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
			r.want(1, "successor")
		}
	})
}

func TestResentPutIfVersionOfARecordThatIsGoneIsUnknown(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.aged(r.key, text("first"))
			r.next(fault, func() {
				_, err := r.other.Delete(ctx, r.key)
				assert.NoError(r.t, err)
			})
			_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
			assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
			assert.NotContains(r.t, err.Error(), "script", "the script does not stumble")
			_, err = r.other.Get(ctx, r.key)
			assert.ErrorIs(r.t, err, taskstore.ErrNotFound)
		}
	})
}

func TestResentCreateOfARecordThatIsGoneMakesItAnew(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.next(lost, func() {
			existed, err := r.other.Delete(ctx, r.key)
			assert.NoError(r.t, err)
			assert.True(r.t, existed)
		})
		v, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 0)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 1, v)
		r.want(1, "mine")
	})
}

func TestResentDeleteTellsWhatItDidWhereItCan(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.next(cut, nil)
		existed, err := r.mine.Delete(ctx, r.key)
		require.NoError(r.t, err)
		assert.True(r.t, existed)

		r.aged(r.key, text("first"))
		r.next(lost, nil)
		_, err = r.mine.Delete(ctx, r.key)
		assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
		_, err = r.other.Get(ctx, r.key)
		assert.ErrorIs(r.t, err, taskstore.ErrNotFound)
	})
}

// The record that a create has made is not in that create's own way.
func TestResentCreateThatFilledTheLimitSucceeds(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{MaxRecordsPerOwner: 1}, func(r *resending) {
		r.next(lost, nil)
		_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 0)
		require.NoError(r.t, err)
		second := taskstore.Key{Owner: r.key.Owner, Task: "second"}
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.next(fault, nil)
			_, err = r.mine.Put(ctx, second, text("x"))
			assert.ErrorIs(r.t, err, taskstore.ErrCapacityExceeded)
			assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown, "there may have been room before")
			r.next(fault, nil)
			_, err = r.mine.PutIfVersion(taskstore.WithRecordLimit(ctx, 1), second, text("x"), 0)
			assert.ErrorIs(r.t, err, taskstore.ErrCapacityExceeded)
		}
		r.next(cut, nil)
		_, err = r.mine.Put(taskstore.WithRecordLimit(ctx, 2), second, text("x"))
		assert.NoError(r.t, err)
	})
}
