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

// A resending is a backend whose writes meet faults, and another one on the same records that
// reaches the server directly.
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

// loadScripts has the server know the scripts, so that the fault meets a write and not the
// question for a script.
func (r *resending) loadScripts() {
	_, err := r.other.Put(ctx, r.key, text("first"))
	require.NoError(r.t, err)
	_, err = r.other.PutIfVersion(ctx, r.key, text("second"), 1)
	require.NoError(r.t, err)
	_, err = r.other.ListByPrefix(ctx, r.key)
	require.NoError(r.t, err)
	_, err = r.other.Delete(ctx, r.key)
	require.NoError(r.t, err)
	require.NoError(r.t, r.other.PutBatch(ctx, []taskstore.Write{{Key: r.key, Value: gone}}))
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
