//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// The last task of an owner may be prolonged until its very last millisecond.
// The indexes must not be gone by then: the task would live on unlisted.
func TestRedisTaskProlongedInItsLastMillisecondStaysListed(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	prolonged := 0
	for round := 0; round < 400 && !t.Failed(); round++ {
		owner := fmt.Sprint("o", round)
		k := taskstore.Key{Owner: owner, Task: "a"}
		at := s.Client.Time(ctx).Val().Add(5 * time.Millisecond).Truncate(time.Millisecond)
		v, err := s.PutIfVersion(ctx, k, taskstore.Value{ExpiresAt: at}, 0)
		require.NoError(t, err)
		if s.Client.Time(ctx).Val().UnixMilli() >= at.UnixMilli() {
			continue // held up: it may have been past when it was written
		}
		var wg sync.WaitGroup
		wg.Go(func() { // writes that look at the indexes all the time
			for time.Now().Before(at.Add(time.Millisecond)) {
				_, err := s.Delete(ctx, taskstore.Key{Owner: owner, Task: "other"})
				assert.NoError(t, err)
			}
		})
		for time.Now().Before(at) { // to its last millisecond
			time.Sleep(time.Until(at) / 2)
		}
		list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: owner})
		require.NoError(t, err)
		if s.Client.Time(ctx).Val().UnixMilli() <= at.UnixMilli() {
			assert.Len(t, list, 1, "round %d, in its last millisecond", round)
		}
		_, err = s.PutIfVersion(ctx, k, taskstore.Value{ExpiresAt: at.Add(time.Hour)}, v)
		wg.Wait()
		if err != nil {
			require.ErrorIs(t, err, taskstore.ErrNotFound)
			continue // too late
		}
		prolonged++
		list, err = s.ListByPrefix(ctx, taskstore.Key{Owner: owner})
		require.NoError(t, err)
		assert.Len(t, list, 1, "round %d", round)
		s.CheckIndexes(t, owner)
	}
	t.Logf("%d tasks were prolonged", prolonged)
	assert.Greater(t, prolonged, 0)
}

// A task that lost its place in the index gets it back with its next expiry.
func TestRedisTaskThatIsMissingFromTheIndexIsEnteredAgain(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	_, err := s.Put(ctx, key, hello)
	require.NoError(t, err)
	require.NoError(t, s.Client.Del(ctx, s.IndexKey(key.Owner)).Err()) // evicted, say
	_, err = s.Put(ctx, key, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
	require.NoError(t, err)
	assert.Len(t, list, 1)
	s.CheckIndexes(t, key.Owner)
	require.NoError(t, s.Client.Del(ctx, s.IndexKey(key.Owner)).Err())
	require.NoError(t, s.PutBatch(ctx, []taskstore.Write{{Key: key, Value: hello, Expected: 2}}))
	list, err = s.ListByPrefix(ctx, taskstore.Key{Owner: key.Owner})
	require.NoError(t, err)
	assert.Len(t, list, 1)
	s.CheckIndexes(t, key.Owner)
}

// Tasks that are deleted and created again while they are listed are listed at
// one place.
func TestRedisListsNoRecordTwice(t *testing.T) {
	s := storetest.New(t, taskstore.RedisOptions{})
	const tasks = 1000
	for i := range tasks {
		_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, hello)
		require.NoError(t, err)
	}
	stop := make(chan struct{})
	var lives atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; ; i = (i + 4) % tasks {
				select {
				case <-stop:
					return
				default:
				}
				k := taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}
				_, err := s.Delete(ctx, k)
				assert.NoError(t, err)
				_, err = s.PutIfVersion(ctx, k, taskstore.Value{Data: []byte(fmt.Sprint(lives.Add(1)))}, 0)
				assert.NoError(t, err)
			}
		})
	}
	once := func(records []taskstore.Record) {
		seen := map[string]bool{}
		for _, r := range records {
			if data := string(r.Data); data != "hello" {
				assert.False(t, seen[data], "the life %s is listed twice", data)
				seen[data] = true
			}
		}
	}
	oneLife := func(records []taskstore.Record) {
		seen := map[string]bool{}
		for _, r := range records {
			assert.False(t, seen[r.Key.Task], "the task %s is listed twice", r.Key.Task)
			seen[r.Key.Task] = true
		}
	}
	for range 60 {
		list, err := s.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
		require.NoError(t, err)
		oneLife(list)
		once(list)
		var all []taskstore.Record
		for cursor := ""; len(all) < 10*tasks; {
			page, next, err := s.ListPage(ctx, taskstore.Key{Owner: "o"}, cursor, 100)
			require.NoError(t, err)
			oneLife(page)
			all = append(all, page...)
			if cursor = next; cursor == "" {
				break
			}
		}
		once(all)
	}
	close(stop)
	wg.Wait()
	s.CheckIndexes(t, "o")
}

// A listing that is cut at any place goes on, and yields each task once.
func TestRedisListResumesAfterACut(t *testing.T) {
	onEachClientAsItIs(t, taskstore.RedisOptions{}, func(r *resending) {
		const tasks = 700 // two ranges, three batches
		var want []string
		for i := range tasks {
			want = append(want, fmt.Sprintf("task-%d", i))
			_, err := r.other.Put(ctx, taskstore.Key{Owner: r.key.Owner, Task: want[i]}, text("x"))
			require.NoError(r.t, err)
		}
		third := []faultproxy.Fault{faultproxy.CutBefore, faultproxy.None, faultproxy.None}
		r.proxy.Set(faultproxy.Faults{Plan: slices.Repeat(third, 10), Match: faultproxy.Commands("zrangebyscore")})
		list, err := r.mine.ListByPrefix(ctx, taskstore.Key{Owner: r.key.Owner})
		require.NoError(r.t, err)
		var got []string
		for _, record := range list {
			got = append(got, record.Key.Task)
		}
		assert.Equal(r.t, want, got)
		assert.Equal(r.t, 3, r.proxy.Counts().CutBefore, "cuts")
	})
}

// The client's timeout covers a whole batch. So listings take smaller batches if records are
// large or the network is slow.
func TestRedisListMayTakeLongerThanTheReadTimeout(t *testing.T) {
	t.Parallel()
	s := storetest.New(t, taskstore.RedisOptions{})
	const tasks, size = 100, 16 << 10
	for i := range tasks {
		_, err := s.Put(ctx, taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, taskstore.Value{Data: make([]byte, size)})
		require.NoError(t, err)
	}
	o := *s.Client.Options()
	o.ReadTimeout = 500 * time.Millisecond
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return slowConn{c, tasks * size}, err // a second for all
	}
	client := redis.NewClient(&o)
	defer client.Close()
	b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: s.Prefix})
	require.NoError(t, err)
	list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, list, tasks)
	page, _, err := b.ListPage(ctx, taskstore.Key{Owner: "o"}, "", tasks)
	require.NoError(t, err)
	assert.Len(t, page, tasks)
}

// A slowConn takes a second for so many bytes.
type slowConn struct {
	net.Conn
	bytes int
}

func (c slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.bytes))
	return n, err
}

// A server that does not know a command, or does not let us use it, quotes the
// arguments. They are not passed on.
func TestRedisErrorsOmitTheQuotesOfServers(t *testing.T) {
	t.Run("Keys", func(t *testing.T) {
		server := redistest.Start(t, "--rename-command", "EVALSHA", "", "--rename-command", "HMGET", "", "--rename-command", "SUBSCRIBE", "")
		b := storetest.Open(t, server.URL(), taskstore.RedisOptions{})
		k := taskstore.Key{Owner: "alice", Task: "unguessable"}
		_, put := b.Put(ctx, k, taskstore.Value{Data: []byte("payload")})
		_, get := b.Get(ctx, k)
		_, list := b.ListByPrefix(ctx, taskstore.Key{Owner: "alice"})
		errs := map[string]error{"put": put, "get": get}
		for _, err := range b.Watch(ctx, taskstore.Key{Owner: "alice"}) {
			errs["watch"] = err
		}
		assert.NoError(t, list, "an empty list uses none of these commands")
		for verb, err := range errs {
			assert.ErrorContains(t, err, "unknown command", verb)
			assert.ErrorAs(t, err, new(redis.Error), verb)
			assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, verb)
			for _, secret := range []string{"alice", "unguessable", "payload"} {
				assert.NotContains(t, everyPrint(err), secret, verb)
			}
		}
	})
	t.Run("Password", func(t *testing.T) {
		server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := taskstore.OpenRedis(ctx, "redis://:s3cr3t@"+server.Addr(), nil)
		require.Error(t, err)
		assert.NotContains(t, everyPrint(err), "s3cr3t")
	})
}
