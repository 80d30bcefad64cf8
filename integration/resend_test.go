//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
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

// If more writes came between than a record remembers, the outcome is unknown.
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

func TestResentDeleteReportsItsFirstAttemptIfItCan(t *testing.T) {
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
