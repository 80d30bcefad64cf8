//go:build integration

package integration

import (
	"context"
	"net"
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

// A meter counts the bytes that a client writes, and those that it reads in a round trip.
type meter struct {
	written, trips, reply, longest atomic.Int64
}

type meteredConn struct {
	net.Conn
	m *meter
}

func (c meteredConn) Write(p []byte) (int, error) {
	c.m.trips.Add(1)
	c.m.reply.Store(0)
	n, err := c.Conn.Write(p)
	c.m.written.Add(int64(n))
	return n, err
}

func (c meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if total := c.m.reply.Add(int64(n)); total > c.m.longest.Load() {
		c.m.longest.Store(total)
	}
	return n, err
}

func (m *meter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return meteredConn{c, m}, err
}

func (m *meter) reset() {
	for _, n := range []*atomic.Int64{&m.written, &m.trips, &m.reply, &m.longest} {
		n.Store(0)
	}
}

// A write that is longer than the server takes is refused after a few copies at most.
func TestRedisWriteLongerThanTheServerTakesIsRefused(t *testing.T) {
	const size = 16 << 20
	for setting, value := range map[string]string{"proto-max-bulk-len": "1mb", "client-query-buffer-limit": "1mb"} {
		server := redistest.Start(t, "--"+setting, value)
		admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer admin.Close()
		require.NoError(t, admin.Do(ctx, "acl", "setuser", "secret", "on", ">secret", "allkeys", "allchannels", "+@all", "-config").Err())
		for name, c := range map[string]struct {
			user    string
			opts    taskstore.RedisOptions
			copies  int
			unknown bool
		}{
			"ItTellsItsSettings":             {copies: 1},
			"ItTellsNothing":                 {user: "secret", copies: 3, unknown: true},
			"ItTellsItsSettingsAutoPipeline": {copies: 1, opts: taskstore.RedisOptions{AutoPipeline: true}},
		} {
			t.Run(setting+"/"+name, func(t *testing.T) {
				m := new(meter)
				client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: c.user, Password: c.user, Dialer: m.dial})
				defer client.Close()
				c.opts.Prefix = name
				b, err := taskstore.NewRedisBackend(client, &c.opts)
				require.NoError(t, err)
				_, err = b.Put(ctx, key, hello)
				require.NoError(t, err)
				long := taskstore.Value{Data: make([]byte, size), ExpiresAt: time.Now().Add(time.Hour)}
				for _, write := range []func() error{
					func() error { _, err := b.Put(ctx, key, long); return err },
					func() error { _, err := b.PutIfVersion(ctx, key, long, 1); return err },
					func() error {
						_, err := b.PutIfVersion(ctx, taskstore.Key{Owner: "owner", Task: "new"}, long, 0)
						return err
					},
					func() error {
						err := b.PutBatch(ctx, []taskstore.Write{{Key: taskstore.Key{Owner: "owner", Task: "new"}}, {Key: key, Value: long, Expected: taskstore.AnyVersion}})
						if !c.unknown {
							refusedAt(t, 1, err)
						}
						return err
					},
				} {
					m.reset()
					err = write()
					require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
					assert.LessOrEqual(t, m.written.Load(), int64(c.copies)*(size+100_000), "bytes sent")
					if !c.unknown {
						assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
						var full *taskstore.CapacityError
						require.ErrorAs(t, err, &full)
						assert.Equal(t, taskstore.CapacityError{Limit: taskstore.LimitData, Max: 1 << 20, Asked: size}, *full)
					}
				}
				got, err := b.Get(ctx, key)
				require.NoError(t, err)
				assert.Equal(t, "hello", string(got.Data), "nothing changed")
				_, err = b.Put(ctx, key, taskstore.Value{Data: make([]byte, 1<<19)})
				assert.NoError(t, err, "shorter data is still accepted")
			})
		}
	}
}

// A server limits each record's data, and all data of a batch by another setting.
func TestRedisBatchMayBeLongerThanOneRecord(t *testing.T) {
	server := redistest.Start(t, "--proto-max-bulk-len", "1mb")
	proxy := faultproxy.New()
	t.Cleanup(proxy.Close)
	b := onClient(t, &redis.Options{Addr: server.Addr(), Dialer: proxy.Dial}, "")
	require.NoError(t, b.PutBatch(ctx, []taskstore.Write{{Key: key}}), "the server has the script")
	half := taskstore.Value{Data: make([]byte, 1<<19)}
	var batch []taskstore.Write
	for _, task := range []string{"a", "b", "c"} {
		batch = append(batch, taskstore.Write{Key: taskstore.Key{Owner: key.Owner, Task: task}, Value: half})
	}
	proxy.Set(faultproxy.Faults{Plan: []faultproxy.Fault{cut}, Match: isWrite})
	require.NoError(t, b.PutBatch(ctx, batch), "a connection that is lost does not say that it is too long")
}

// A write is refused too if its data is below every such limit, and its whole command above.
func TestRedisWriteLongerThanTheServerTakesWithItsRestIsRefused(t *testing.T) {
	server := redistest.Start(t, "--client-query-buffer-limit", "1mb")
	m := new(meter)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: m.dial})
	defer client.Close()
	b, err := taskstore.NewRedisBackend(client, nil)
	require.NoError(t, err)
	for _, size := range []int{1 << 20, 1<<20 - 1} {
		m.reset()
		_, err = b.Put(ctx, key, taskstore.Value{Data: make([]byte, size)})
		if err == nil {
			continue // servers count the rest in different ways
		}
		require.ErrorIs(t, err, taskstore.ErrCapacityExceeded)
		assert.LessOrEqual(t, m.written.Load(), int64(3*(size+100_000)), "bytes sent")
	}
}

// A page keeps to its bytes from the first batch on, and so does each round trip, after
// records of any length.
func TestRedisListsKeepToTheirBytes(t *testing.T) {
	const small, large, size = 150, 30, 512 << 10
	s := storetest.New(t, taskstore.RedisOptions{})
	put := func(owner string, i, size int) {
		_, err := s.Put(ctx, taskstore.Key{Owner: owner, Task: string(rune('a' + i))}, taskstore.Value{Data: make([]byte, size)})
		require.NoError(t, err)
	}
	for i := range large {
		put("large", i, size)
	}
	for i := range small + large {
		put("mixed", i, map[bool]int{true: 10, false: size}[i < small])
	}
	for i := range 50 {
		put("small", i, 1024)
	}
	for i := range large {
		put("uneven", i, 300_000) // of which three are a batch, and no number is a page
	}
	put("huge", 0, 9<<20)
	put("huge", 1, 1<<20)
	m := new(meter)
	o := *s.Client.Options()
	o.Dialer = m.dial
	client := redis.NewClient(&o)
	defer client.Close()
	b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: s.Prefix})
	require.NoError(t, err)
	for owner, want := range map[string]int{"large": large, "mixed": small + large, "small": 50, "uneven": large, "huge": 2} {
		longest := int64(1<<20 + 100_000)
		if owner == "huge" {
			longest += 9 << 20
		}
		m.reset()
		list, err := b.ListByPrefix(ctx, taskstore.Key{Owner: owner})
		require.NoError(t, err)
		assert.Len(t, list, want, owner)
		assert.LessOrEqual(t, m.longest.Load(), longest, "%s: bytes of a round trip of a list", owner)
		m.reset()
		listed := 0
		for cursor := ""; ; {
			page, next, err := b.ListPage(ctx, taskstore.Key{Owner: owner}, cursor, 500)
			require.NoError(t, err)
			bytes := 0
			for _, r := range page {
				bytes += len(r.Data)
			}
			if len(page) > 1 {
				assert.LessOrEqual(t, bytes, 4<<20, "%s: bytes of a page of %d", owner, len(page))
			}
			listed += len(page)
			if cursor = next; cursor == "" {
				break
			}
		}
		assert.Equal(t, want, listed, owner)
		assert.LessOrEqual(t, m.longest.Load(), longest, "%s: bytes of a round trip of a page", owner)
	}
	m.reset()
	page, _, err := b.ListPage(ctx, taskstore.Key{Owner: "small"}, "", 50)
	require.NoError(t, err)
	assert.Len(t, page, 50)
	assert.EqualValues(t, 2, m.trips.Load(), "round trips of a page of small records")
}
