//go:build integration

package pgstore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// losing returns a backend, and a function that has the next write meet a fault.
func losing(t *testing.T) (b *Backend, lose func(faultproxy.Fault)) {
	s := pgtest.Shared(t)
	p := faultproxy.NewPostgres()
	t.Cleanup(p.Close)
	addr, err := p.Addr(s.Addr())
	require.NoError(t, err)
	b = open(t, pgtest.URL("postgres", addr), Options{Schema: newSchema(t, s.URL())})
	return b, func(f faultproxy.Fault) {
		p.Set(faultproxy.Faults{Plan: []faultproxy.Fault{f}, Match: func(args []string) bool {
			return strings.Contains(args[0], ".put(") || strings.Contains(args[0], ".write(") || strings.Contains(args[0], ".delete(")
		}})
	}
}

// A write with a lost answer is made once, and succeeds, or says that it does not know.
func TestLostAnswers(t *testing.T) {
	b, lose := losing(t)
	root := admin(t, pgtest.Shared(t).URL())
	wantVersion := func(key taskstore.Key, version taskstore.Version) {
		t.Helper()
		r, err := b.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, version, r.Version)
	}
	for _, fault := range []faultproxy.Fault{faultproxy.DropReply, faultproxy.CutBefore} {
		key := taskstore.Key{Owner: "o", Task: map[faultproxy.Fault]string{faultproxy.DropReply: "drop", faultproxy.CutBefore: "cut"}[fault]}
		other := key
		other.Collection = "other"
		lose(fault)
		v, err := b.PutIfVersion(ctx, key, hello, 0)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(1), v)
		// A record as young as the call cannot be told from a successor.
		exec(t, root, b.opts.Schema, "UPDATE $S.record SET seq = seq - 10000000")
		lose(fault)
		v, err = b.PutIfVersion(ctx, key, hello, 1)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(2), v)
		lose(fault)
		v, err = b.Put(ctx, key, hello)
		require.NoError(t, err)
		assert.Equal(t, taskstore.Version(3), v)
		lose(fault)
		_, err = b.PutIfVersion(ctx, key, hello, 1)
		assert.ErrorIs(t, err, taskstore.ErrVersionConflict)
		lose(fault)
		require.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: hello, Expected: 3}, {Key: other, Value: hello}}))
		wantVersion(key, 4)
		wantVersion(other, 1)
		lose(fault)
		err = b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: hello, Expected: 4}, {Key: other, Value: hello}})
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, "a late copy of it may be applied yet")
		wantVersion(key, 4)
		lose(fault)
		existed, err := b.Delete(ctx, key)
		if fault == faultproxy.DropReply {
			assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown, "the record is gone after either outcome")
		} else {
			require.NoError(t, err)
			assert.True(t, existed)
		}
		_, err = b.Get(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrNotFound)
	}
}

// A record that was made since the call began is not taken for one that was there before.
func TestLostDeleteSparesASuccessor(t *testing.T) {
	b, lose := losing(t)
	s := pgtest.Shared(t)
	second := open(t, s.URL(), Options{Schema: b.opts.Schema})
	_, err := b.Put(ctx, key, hello)
	require.NoError(t, err)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // makes it anew whenever it is gone
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = second.PutIfVersion(ctx, key, hello, 0)
			}
		}
	}()
	for range 20 {
		lose(faultproxy.DropReply)
		_, err = b.Delete(ctx, key)
		assert.ErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	}
	close(stop)
	<-done
	_, err = b.PutIfVersion(ctx, key, hello, 0)
	assert.ErrorIs(t, err, taskstore.ErrVersionConflict, "the successor is there")
}
