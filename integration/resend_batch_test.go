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

// batchOf returns writes of the key and, in another collection, of an entry.
func (r *resending) batchOf(task, entry taskstore.Write) []taskstore.Write {
	task.Key = r.key
	entry.Key = r.entry()
	return []taskstore.Write{task, entry}
}

func (r *resending) entry() taskstore.Key {
	return taskstore.Key{Owner: r.key.Owner, Collection: "entries", Task: r.key.Task}
}

func (r *resending) wantEntry(v taskstore.Version, data string) {
	r.t.Helper()
	rec, err := r.other.Get(ctx, r.entry())
	if v == 0 {
		assert.ErrorIs(r.t, err, taskstore.ErrNotFound)
		return
	}
	require.NoError(r.t, err)
	assert.Equal(r.t, v, rec.Version)
	assert.Equal(r.t, data, string(rec.Data))
}

// remove deletes a record.
func (r *resending) remove(k taskstore.Key) {
	existed, err := r.other.Delete(ctx, k)
	assert.NoError(r.t, err)
	assert.True(r.t, existed)
}

func TestResentBatchIsAppliedOnce(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.key.Task = uuid.NewString()
			r.next(fault, nil)
			require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("created")}, taskstore.Write{Value: text("created")})))
			r.want(1, "created")
			r.wantEntry(1, "created")
			r.passes(250 * time.Millisecond)

			others := taskstore.Key{Owner: r.key.Owner, Collection: "expiring", Task: r.key.Task}
			r.next(fault, nil)
			require.NoError(r.t, r.mine.PutBatch(ctx, []taskstore.Write{{Key: others, Value: lasts}, {Key: taskstore.Key{Owner: others.Owner, Task: others.Task + "+"}, Value: lasts}}))
			rec, err := r.other.Get(ctx, others)
			require.NoError(r.t, err)
			assert.EqualValues(r.t, 1, rec.Version)

			r.next(fault, nil)
			require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(
				taskstore.Write{Value: text("updated"), Expected: 1}, taskstore.Write{Value: text("put"), Expected: taskstore.AnyVersion})))
			r.want(2, "updated")
			r.wantEntry(2, "put")

			r.next(fault, nil)
			require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(
				taskstore.Write{Value: text("ended"), Expected: 2}, taskstore.Write{Value: gone, Expected: 2})))
			r.want(3, "ended")
			r.wantEntry(0, "")
		}
	})
}

// Any of the records that a batch has stored tells that it was applied.
func TestResentBatchIsFoundInAnyOfItsRecords(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		create := r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})
		r.next(lost, func() {
			r.others(7)()
			r.remove(r.entry())
		})
		require.NoError(r.t, r.mine.PutBatch(ctx, create))
		r.want(8, "other")
		r.wantEntry(0, "")

		r.key.Task = "second"
		r.next(lost, func() { r.remove(r.key) })
		require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})))
		_, err := r.other.Get(ctx, r.key)
		assert.ErrorIs(r.t, err, taskstore.ErrNotFound, "it is not made anew")
		r.wantEntry(1, "mine")

		r.key.Task = "third"
		r.aged(r.key, text("first"))
		r.next(lost, nil)
		require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: gone, Expected: 1}, taskstore.Write{Value: text("mine")})))
	})
}

// A batch may have removed all its records, or another caller may have deleted them since. If
// its first write names a version, the outcome is unknown.
func TestResentBatchOfRecordsThatAreGoneIsUnknown(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			for _, v := range []taskstore.Value{gone, text("mine")} {
				r.key.Task = uuid.NewString()
				_, err := r.other.Put(ctx, r.entry(), text("first"))
				require.NoError(r.t, err)
				r.aged(r.key, text("first"))
				r.next(fault, func() {
					for _, k := range []taskstore.Key{r.key, r.entry()} {
						_, err := r.other.Delete(ctx, k)
						assert.NoError(r.t, err)
					}
				})
				err = r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: v, Expected: 1}, taskstore.Write{Value: v, Expected: 1}))
				assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
				assert.NotContains(r.t, err.Error(), "script", "the script does not stumble")
				r.wantEntry(0, "")
			}
		}
	})
}

// A create that was lost with its records makes them anew, as a create by itself does.
func TestResentBatchOfCreatesThatAreGoneMakesThemAnew(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.next(lost, func() { r.remove(r.key); r.remove(r.entry()) })
		require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})))
		r.want(1, "mine")
		r.wantEntry(1, "mine")
	})
}

// The error has the place of the first write that surely conflicts; no record is changed.
func TestResentBatchThatLostIsAConflict(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		conflict := func(err error, index int, actual taskstore.Version) {
			r.t.Helper()
			var c *taskstore.VersionConflictError
			require.ErrorAs(r.t, refusedAt(r.t, index, err), &c)
			assert.Equal(r.t, actual, c.Actual)
		}
		r.aged(r.key, text("first"))
		r.next(cut, r.others(1))
		conflict(r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine"), Expected: 1}, taskstore.Write{Value: text("mine")})), 0, 2)
		r.wantEntry(0, "")
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.next(fault, nil)
			conflict(r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})), 0, 2)
		}
		r.wantEntry(0, "")
		r.want(2, "other")

		r.aged(r.entry(), text("taken"))
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.next(fault, nil)
			conflict(r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine"), Expected: 2}, taskstore.Write{Value: text("mine")})), 1, 1)
		}
		r.want(2, "other")
		r.key.Task = "new"
		r.aged(r.entry(), text("taken"))
		r.next(cut, nil)
		conflict(r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})), 1, 1)
		r.wantEntry(1, "taken")
	})
}

// A record made since the batch was first sent may be a successor of the batch's own record.
func TestResentBatchLeavesSuccessorsAlone(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		for _, fault := range []faultproxy.Fault{lost, cut} {
			for place := range 2 {
				for expected := range taskstore.Version(2) {
					r.key.Task = uuid.NewString()
					if expected == 1 {
						_, err := r.other.Put(ctx, r.entry(), text("first"))
						require.NoError(r.t, err)
						r.aged(r.key, text("first"))
					}
					r.next(fault, func() {
						for i, k := range []taskstore.Key{r.key, r.entry()} {
							_, err := r.other.Delete(ctx, k)
							assert.NoError(r.t, err)
							if i == place {
								_, err = r.other.Put(ctx, k, text("successor"))
								assert.NoError(r.t, err)
							}
						}
					})
					err := r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine"), Expected: expected}, taskstore.Write{Value: text("mine"), Expected: expected}))
					assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown)
					assert.NotErrorIs(r.t, err, taskstore.ErrVersionConflict)
					if place == 0 {
						r.want(1, "successor")
						r.wantEntry(0, "")
					} else {
						r.wantEntry(1, "successor")
					}
				}
			}
		}
	})
}

// The batch's own records do not count against it. Beyond a limit the outcome is unknown,
// because there may have been room before.
func TestResentBatchThatFilledTheLimitSucceeds(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{MaxRecordsPerOwner: 1}, func(r *resending) {
		r.next(lost, nil)
		require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine")}, taskstore.Write{Value: text("mine")})))
		r.key.Task = "second"
		for _, fault := range []faultproxy.Fault{lost, cut} {
			r.next(fault, nil)
			err := r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine"), MaxRecords: 2}, taskstore.Write{Value: text("mine")}))
			assert.ErrorIs(r.t, err, taskstore.ErrCapacityExceeded)
			assert.ErrorIs(r.t, err, taskstore.ErrOutcomeUnknown, "there may have been room before")
			r.wantEntry(0, "")
		}
	})
}

// A first copy that arrives late changes no record, if a write names a version and its record
// has gone on.
func TestDelayedBatchIsHarmless(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.next(faultproxy.Delay, nil)
		require.NoError(r.t, r.mine.PutBatch(ctx, r.batchOf(taskstore.Write{Value: text("mine"), Expected: 1}, taskstore.Write{Value: text("mine"), Expected: taskstore.AnyVersion})))
		_, err := r.other.Put(ctx, r.entry(), text("other"))
		require.NoError(r.t, err)
		r.proxy.Release()
		r.want(2, "mine")
		r.wantEntry(2, "other")
	})
}
