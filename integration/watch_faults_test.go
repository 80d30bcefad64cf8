//go:build integration

package integration

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// A faultyWatch is a process that watches an owner while another one creates tasks of that
// owner, each with a name of its own, during any fault of the servers. The watcher does as a
// program should: it looks at the task of a hint, and at everything after a Resync. Its Watch
// is its only source.
type faultyWatch struct {
	t       *testing.T
	owner   string
	channel string

	watcher, writer *taskstore.RedisBackend
	cluster         *redis.ClusterClient // the writer's, if it is one
	resyncs         atomic.Int64
	created, failed atomic.Int64 // creates that have returned

	mu       sync.Mutex
	written  map[string]time.Time // when the create of a task returned
	noticed  map[string]time.Time // when the watcher came to know of it
	stop     context.CancelFunc
	finished sync.WaitGroup
}

// watchUnderFaults starts one and returns when hints arrive.
func watchUnderFaults(t *testing.T, url string) *faultyWatch {
	t.Helper()
	prefix := uuid.NewString()
	f := &faultyWatch{
		t: t, owner: "owner", channel: prefix + ":idx:{owner}",
		watcher: storetest.Open(t, url, taskstore.RedisOptions{Prefix: prefix}),
		written: map[string]time.Time{}, noticed: map[string]time.Time{},
	}
	client := newClient(t, url)
	f.cluster, _ = client.(*redis.ClusterClient)
	var err error
	f.writer, err = taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: prefix})
	require.NoError(t, err)
	watching, cancel := context.WithCancel(ctx)
	f.stop = cancel
	t.Cleanup(func() { cancel(); f.finished.Wait() })
	f.finished.Go(func() { f.watch(watching) })
	require.Eventually(t, func() bool { return f.resyncs.Load() > 0 }, 20*time.Second, time.Millisecond, "the watch is in place")
	f.finished.Go(func() { f.write(watching) })
	require.Eventually(t, func() bool { return f.unnoticed(f.before(time.Now())) == 0 && f.created.Load() > 10 },
		20*time.Second, time.Millisecond, "hints arrive")
	return f
}

func (f *faultyWatch) watch(ctx context.Context) {
	for c, err := range f.watcher.Watch(ctx, taskstore.Key{Owner: f.owner}) {
		switch {
		case err != nil:
			assert.ErrorIs(f.t, err, context.Canceled, "a watch outlives every fault")
			return
		case c.Resync:
			f.resyncs.Add(1)
			f.lookAtEverything(ctx)
		default:
			f.notice(c.Key.Task)
		}
	}
}

func (f *faultyWatch) lookAtEverything(ctx context.Context) {
	for ctx.Err() == nil {
		list, err := f.watcher.ListByPrefix(ctx, taskstore.Key{Owner: f.owner})
		if err == nil {
			for _, r := range list {
				f.notice(r.Key.Task)
			}
			return
		}
		wait(ctx)
	}
}

func (f *faultyWatch) notice(task string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.noticed[task]; !known {
		f.noticed[task] = time.Now()
	}
}

func (f *faultyWatch) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		task := strconv.Itoa(n)
		// The limit keeps a call that a dead server holds up from holding up the next ones.
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := f.writer.PutIfVersion(short, taskstore.Key{Owner: f.owner, Task: task}, hello, 0)
		cancel()
		if err == nil {
			f.mu.Lock()
			f.written[task] = time.Now()
			f.mu.Unlock()
			f.created.Add(1)
		} else {
			f.failed.Add(1)
			if f.cluster != nil { // learn of a promotion without delay: the watch is under test
				go func() { _ = f.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }) }()
			}
		}
		wait(ctx)
	}
}

// wait makes a loop over a server an even load, not a flood.
func wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Millisecond):
	}
}

// before returns the tasks that were written before an instant.
func (f *faultyWatch) before(at time.Time) (tasks []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for task, when := range f.written {
		if when.Before(at) {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

func (f *faultyWatch) unnoticed(tasks []string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, task := range tasks {
		if _, known := f.noticed[task]; !known {
			n++
		}
	}
	return n
}

// writesAgain waits until a create that began after the instant has succeeded,
// and returns when that was.
func (f *faultyWatch) writesAgain(after time.Time) (at time.Time) {
	f.t.Helper()
	before := f.created.Load()
	require.Eventually(f.t, func() bool { return f.created.Load() >= before+2 }, 60*time.Second, time.Millisecond, "writes succeed again")
	f.mu.Lock()
	defer f.mu.Unlock()
	at = time.Now()
	for _, when := range f.written {
		if when.After(after) && when.Before(at) {
			at = when
		}
	}
	return at
}

// knowsEverything asserts that the watcher comes to know of every task that there is (a
// failover may lose tasks that were created). It logs the time that this took since the fault,
// and since the instant at which writes succeeded again.
func (f *faultyWatch) knowsEverything(fault, again time.Time, limit time.Duration) {
	f.t.Helper()
	more := f.created.Load() + 100
	require.Eventually(f.t, func() bool { return f.created.Load() >= more }, 60*time.Second, time.Millisecond, "writes go on")
	list, err := f.writer.ListByPrefix(ctx, taskstore.Key{Owner: f.owner})
	require.NoError(f.t, err)
	var tasks []string
	for _, r := range list {
		tasks = append(tasks, r.Key.Task)
	}
	if !assert.Eventually(f.t, func() bool { return f.unnoticed(tasks) == 0 }, limit, time.Millisecond) {
		f.t.Errorf("%d of %d tasks were not noticed within %v", f.unnoticed(tasks), len(tasks), limit)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var lags []time.Duration
	first := time.Now()
	for _, task := range tasks {
		written, ok := f.written[task]
		if !ok || written.Before(fault) {
			continue
		}
		lags = append(lags, f.noticed[task].Sub(written))
		if written.Before(first) {
			first = written
		}
	}
	slices.Sort(lags)
	f.t.Logf("writes again %v after the fault; the latest of %d tasks was noticed %v after its create; %d Resyncs",
		again.Sub(fault).Round(time.Millisecond), len(lags), lags[len(lags)-1].Round(time.Millisecond), f.resyncs.Load())
}

// A connection that is cut costs hints, and the watch says so.
func TestRedisWatchSurvivesACutConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := watchUnderFaults(t, server.URL())
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	for range 20 {
		resyncs, fault := f.resyncs.Load(), time.Now()
		killed, err := c.ClientKillByFilter(ctx, "TYPE", "pubsub").Result()
		require.NoError(t, err)
		require.EqualValues(t, 1, killed)
		require.Eventually(t, func() bool { return f.resyncs.Load() > resyncs }, 10*time.Second, time.Millisecond)
		t.Logf("Resync %v after the cut", time.Since(fault).Round(time.Millisecond))
	}
	f.knowsEverything(time.Now(), time.Now(), 10*time.Second)
}

func TestRedisWatchSurvivesAKilledServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	f := watchUnderFaults(t, server.URL())
	fault := time.Now()
	server.Kill()
	server.Restart()
	f.knowsEverything(fault, f.writesAgain(time.Now()), 10*time.Second)
}

// A server that stands still for longer than the watch waits for a sign of life.
func TestRedisWatchSurvivesASuspendedServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := watchUnderFaults(t, server.URL())
	fault, resyncs := time.Now(), f.resyncs.Load()
	server.Suspend()
	require.Eventually(t, func() bool { return f.failed.Load() >= 10 }, time.Minute, time.Millisecond, "creates fail, half a second each")
	server.Resume()
	again := f.writesAgain(time.Now())
	f.knowsEverything(fault, again, 10*time.Second)
	assert.Greater(t, f.resyncs.Load(), resyncs)
}

// A connection that swallows everything, while the server is well.
func TestRedisWatchSurvivesABlackHole(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.New()
	t.Cleanup(proxy.Close)
	addr, err := proxy.Addr(server.Addr())
	require.NoError(t, err)
	f := watchUnderFaults(t, "redis://"+addr)
	fault, resyncs := time.Now(), f.resyncs.Load()
	proxy.Set(faultproxy.Faults{Match: faultproxy.Commands("ping"), Plan: []faultproxy.Fault{faultproxy.BlackHole}}) // the watch's sign of life
	require.Eventually(t, func() bool { return f.resyncs.Load() > resyncs }, 20*time.Second, time.Millisecond)
	assert.Equal(t, 1, proxy.Counts().Swallowed)
	f.knowsEverything(fault, fault, 10*time.Second)
}

// A failover is a master that goes and a replica that takes its place. It matters
// how the master goes: a process that is gone resets its connections, one that
// stands still does not, and one that wakes up later still believes that it is
// the master and answers.
var failovers = map[string]struct {
	goes, after func(master *redistest.Server)
}{
	"Killed":    {goes: (*redistest.Server).Kill},
	"Suspended": {goes: (*redistest.Server).Suspend},
	"WakesUp":   {goes: (*redistest.Server).Suspend, after: (*redistest.Server).Resume},
}

func TestRedisWatchSurvivesAFailoverOfSentinel(t *testing.T) {
	for name, master := range failovers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartSentinel(t)
			f := watchUnderFaults(t, s.URL())
			f.failOver(s.Master, master.goes, master.after)
		})
	}
}

func TestRedisWatchSurvivesAFailoverInACluster(t *testing.T) {
	for name, master := range failovers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			f := watchUnderFaults(t, cluster.URL())
			f.failOver(masterOf(t, cluster, f.channel), master.goes, master.after)
		})
	}
}

func (f *faultyWatch) failOver(master *redistest.Server, goes, after func(*redistest.Server)) {
	f.t.Helper()
	fault, failed := time.Now(), f.failed.Load()
	goes(master)
	require.Eventually(f.t, func() bool { return f.failed.Load() > failed }, 20*time.Second, time.Millisecond, "a create fails")
	again := f.writesAgain(time.Now())
	if after != nil {
		after(master)
	}
	f.knowsEverything(fault, again, 15*time.Second)
}

// masterOf returns the server that has the key.
func masterOf(t *testing.T, cluster *redistest.Cluster, key string) *redistest.Server {
	t.Helper()
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer c.Close()
	node, err := c.MasterForKey(ctx, key)
	require.NoError(t, err)
	i := slices.IndexFunc(cluster.Masters, func(s *redistest.Server) bool { return s.Addr() == node.Options().Addr })
	require.GreaterOrEqual(t, i, 0)
	return cluster.Masters[i]
}

// newClient returns a client for a server, a Sentinel or a Cluster of redistest.
func newClient(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	var client redis.UniversalClient
	switch {
	case strings.Contains(url, "master_name="):
		o, err := redis.ParseFailoverURL(url)
		require.NoError(t, err)
		o.ContextTimeoutEnabled = true
		client = redis.NewFailoverClient(o)
	case strings.Contains(url, "addr="):
		o, err := redis.ParseClusterURL(url)
		require.NoError(t, err)
		o.ContextTimeoutEnabled = true
		client = redis.NewClusterClient(o)
	default:
		o, err := redis.ParseURL(url)
		require.NoError(t, err)
		o.ContextTimeoutEnabled = true
		client = redis.NewClient(o)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
