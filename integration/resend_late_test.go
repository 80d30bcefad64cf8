//go:build integration

package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
)

// A first copy of a write that names a version changes no record if it arrives after the
// answer to the second.
func TestDelayedPutIfVersionIsHarmless(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.next(faultproxy.Delay, nil)
		v, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 1)
		require.NoError(r.t, err)
		assert.EqualValues(r.t, 2, v)
		_, err = r.other.PutIfVersion(ctx, r.key, text("other"), 2)
		require.NoError(r.t, err)
		r.proxy.Release()
		r.want(3, "other")
	})
}

// A delayed Put overwrites a later write. The promise of RedisBackend leaves that out, as its
// documentation says.
func TestDelayedPutOverwritesALaterWrite(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.next(faultproxy.Delay, nil)
		_, err := r.mine.Put(ctx, r.key, text("mine"))
		require.NoError(r.t, err)
		r.others(1)()
		r.proxy.Release()
		r.want(3, "mine")
	})
}

func TestDelayedCreateMakesADeletedRecordAnew(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.next(faultproxy.Delay, nil)
		_, err := r.mine.PutIfVersion(ctx, r.key, text("mine"), 0)
		require.NoError(r.t, err)
		_, err = r.other.Delete(ctx, r.key)
		require.NoError(r.t, err)
		r.proxy.Release()
		r.want(1, "mine")
	})
}

func TestDelayedDeleteRemovesASuccessor(t *testing.T) {
	onEachClient(t, taskstore.RedisOptions{}, func(r *resending) {
		r.aged(r.key, text("first"))
		r.next(faultproxy.Delay, nil)
		existed, err := r.mine.Delete(ctx, r.key)
		require.NoError(r.t, err)
		assert.True(r.t, existed)
		r.others(1)()
		r.proxy.Release()
		_, err = r.other.Get(ctx, r.key)
		assert.ErrorIs(r.t, err, taskstore.ErrNotFound)
	})
}
