//go:build integration

package taskstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
	"github.com/taskstore/taskstore/internal/redistest"
)

// backendsOnOneStore returns backends of processes with clocks that are off by these
// durations.
func backendsOnOneStore(t *testing.T, off ...time.Duration) (backends []*RedisBackend, client *redis.Client) {
	t.Helper()
	prefix := uuid.NewString()
	for _, d := range off {
		b, err := OpenRedis(context.Background(), redistest.SharedURL(t), &RedisOptions{Prefix: prefix})
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		b.link.Clock.Local = func() time.Time { return time.Now().Add(d) }
		backends = append(backends, b)
	}
	o, err := redis.ParseURL(redistest.SharedURL(t))
	require.NoError(t, err)
	client = redis.NewClient(o)
	t.Cleanup(func() {
		defer client.Close()
		keys := client.Scan(context.Background(), 0, prefix+":*", 1000).Iterator()
		for keys.Next(context.Background()) {
			client.Del(context.Background(), keys.Val())
		}
	})
	return backends, client
}

// A process with a clock an hour ahead or behind sees the same records as one with the right
// clock, and computes the right expiries.
func TestRedisClocksOfProcessesDoNotMatter(t *testing.T) {
	ctx := context.Background()
	backends, client := backendsOnOneStore(t, 0, time.Hour, -time.Hour)
	const owner = "o"
	for i, b := range backends {
		now, err := b.Now(ctx)
		require.NoError(t, err)
		assert.WithinDuration(t, client.Time(ctx).Val(), now, 100*time.Millisecond)
		for name, ttl := range map[string]time.Duration{
			"past": -30 * time.Minute, "soon": 150 * time.Millisecond, "half an hour": 30 * time.Minute, "two hours": 2 * time.Hour,
		} {
			_, err := b.Put(ctx, Key{Owner: owner, Task: fmt.Sprintf("%s %d", name, i)}, Value{ExpiresAt: now.Add(ttl)})
			require.NoError(t, err)
		}
		// A hash that is past and that has lost its TTL.
		dead := b.keys.scope(hub.Scope{Owner: owner}).task(fmt.Sprint("dead ", i))
		require.NoError(t, client.HSet(ctx, dead, "version", 1, "data", "x", "expires_at", now.Add(-10*time.Minute).UnixMilli()).Err())
		require.NoError(t, client.ZAdd(ctx, b.keys.scope(hub.Scope{Owner: owner}).index, redis.Z{Score: float64(i + 1), Member: fmt.Sprint("dead ", i)}).Err())
	}
	seenBy := func(b *RedisBackend) (seen []string) {
		list, err := b.ListByPrefix(ctx, Key{Owner: owner})
		require.NoError(t, err)
		for _, r := range list {
			seen = append(seen, r.Key.Task)
		}
		for i := range backends {
			for _, name := range []string{"past", "half an hour", "two hours", "dead"} {
				task := fmt.Sprintf("%s %d", name, i)
				_, err := b.Get(ctx, Key{Owner: owner, Task: task})
				assert.Equal(t, name == "past" || name == "dead", err != nil, "Get of the task %s: %v", task, err)
			}
		}
		return seen
	}
	require.Eventually(t, func() bool {
		return client.ZCount(ctx, backends[0].keys.scope(hub.Scope{Owner: owner}).expiry, "-inf", fmt.Sprint("(", client.Time(ctx).Val().UnixMilli())).Val() >= 3
	},
		5*time.Second, 5*time.Millisecond, "the three that expire soon have expired")
	want := []string{"half an hour 0", "two hours 0", "half an hour 1", "two hours 1", "half an hour 2", "two hours 2"}
	for _, b := range backends {
		assert.ElementsMatch(t, want, seenBy(b))
	}
}

// Every reader sees a record to the end of its last millisecond.
func TestRedisRecordsAreVisibleUntilTheirInstant(t *testing.T) {
	ctx := context.Background()
	backends, client := backendsOnOneStore(t, 0, time.Hour, -time.Hour)
	key := Key{Owner: "o", Task: "t"}
	for range 20 {
		now, err := backends[0].Now(ctx)
		require.NoError(t, err)
		expiresAt := now.Add(30 * time.Millisecond).Truncate(time.Millisecond)
		_, err = backends[0].Put(ctx, key, Value{ExpiresAt: expiresAt})
		require.NoError(t, err)
		for gone := 0; gone < len(backends); {
			gone = 0
			for _, b := range backends {
				before := client.Time(ctx).Val()
				_, err := b.Get(ctx, key)
				after := client.Time(ctx).Val()
				switch {
				case err == nil:
					assert.LessOrEqual(t, before.UnixMilli(), expiresAt.UnixMilli(), "visible after its end")
				default:
					require.ErrorIs(t, err, ErrNotFound)
					assert.Greater(t, after.UnixMilli(), expiresAt.UnixMilli(), "gone before its end")
					gone++
				}
			}
		}
	}
}

// A step of the server's clock counts at once for a decision: before an estimate hides a
// record, the backend checks it with the server.
func TestRedisClockEstimateIsCheckedBeforeItHidesARecord(t *testing.T) {
	ctx := context.Background()
	backends, _ := backendsOnOneStore(t, 0)
	b := backends[0]
	now, err := b.Now(ctx)
	require.NoError(t, err)
	_, err = b.Put(ctx, Key{Owner: "o", Task: "t"}, Value{ExpiresAt: now.Add(time.Minute)})
	require.NoError(t, err)
	b.link.Clock.Set(now.Add(time.Hour), time.Now(), time.Now()) // as if the server's clock had been set back since
	_, err = b.Get(ctx, Key{Owner: "o", Task: "t"})
	assert.NoError(t, err)
	list, err := b.ListByPrefix(ctx, Key{Owner: "o"})
	require.NoError(t, err)
	assert.Len(t, list, 1)
}

// afterReads runs f once, after the server's answer to a read and before the backend reads it.
type afterReads struct {
	f    func()
	done bool
}

func (a *afterReads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *afterReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "hmget" && !a.done {
			a.done = true
			a.f()
		}
		return err
	}
}

func (a *afterReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		// A listing's begins with the script that reads.
		if len(cmds) > 0 && strings.HasPrefix(cmds[0].Name(), "eval") && cmds[0].Err() == nil && !a.done {
			a.done = true
			a.f()
		}
		return err
	}
}

// A record that was there when the server showed it is returned, however long the reader takes
// to look at the answer and despite any changes meanwhile.
func TestRedisReadersThatAreHeldUpLoseNoRecord(t *testing.T) {
	ctx := context.Background()
	key := Key{Owner: "o", Task: "t"}
	for name, read := range map[string]func(b *RedisBackend) (int, error){
		"Get": func(b *RedisBackend) (int, error) {
			_, err := b.Get(ctx, key)
			return 1, err
		},
		"ListByPrefix": func(b *RedisBackend) (int, error) {
			list, err := b.ListByPrefix(ctx, Key{Owner: key.Owner})
			return len(list), err
		},
		"ListPage": func(b *RedisBackend) (int, error) {
			list, _, err := b.ListPage(ctx, Key{Owner: key.Owner}, "", 10)
			return len(list), err
		},
	} {
		for _, clockKnown := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/clockKnown=%t", name, clockKnown), func(t *testing.T) {
				backends, client := backendsOnOneStore(t, 0)
				writer := backends[0]
				reader, err := NewRedisBackend(client, &RedisOptions{Prefix: writer.opts.Prefix})
				require.NoError(t, err)
				if clockKnown {
					_, err = reader.Now(ctx)
					require.NoError(t, err)
				}
				now, err := writer.Now(ctx)
				require.NoError(t, err)
				expiresAt := now.Add(500 * time.Millisecond)
				_, err = writer.Put(ctx, key, Value{ExpiresAt: expiresAt})
				require.NoError(t, err)
				client.AddHook(&afterReads{f: func() {
					_, err := writer.Put(ctx, key, Value{}) // it stays, from before its expiry on
					require.NoError(t, err)
					for client.Time(ctx).Val().Before(expiresAt.Add(10 * time.Millisecond)) {
						time.Sleep(time.Millisecond)
					}
				}})
				n, err := read(reader)
				require.NoError(t, err)
				assert.Equal(t, 1, n)
			})
		}
	}
}

// Records that are created in one microsecond get places of their own, even if the one before
// has the very microsecond of the create.
func TestRedisPlacesInOneMicrosecondDiffer(t *testing.T) {
	ctx := context.Background()
	c := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Addr()})
	t.Cleanup(func() { _ = c.Close() })
	scripts, keys := newScripts(0, "", "", false), redisKeys{prefix: "p"}
	key := Key{Owner: "o", Task: "new"}
	all, newer := keys.all(key), keys.all(Key{Owner: "o", Task: "newer"})
	const ends = "253402300799999"
	create := map[string]*redislink.Call{
		"put":   {Script: scripts.put, Keys: all[:], Args: []string{"12345678", "", ends, key.Task}},
		"batch": {Script: scripts.batch, Keys: append(all[:], newer[:]...), Args: []string{"12345678", "", ends, key.Task, "0", "0", "", ends, "newer", "0", "0"}},
	}
	const plant = `
local t = redis.call('TIME')
local at = t[1] * 1000000 + t[2] + ARGV[1]
redis.call('DEL', unpack(KEYS))
redis.call('ZADD', KEYS[2], at, 'last')
redis.call('ZADD', KEYS[3], ARGV[2], 'last')
return string.format('%.0f', at)`
	for name, call := range create {
		t.Run(name, func(t *testing.T) {
			args := make([]any, len(call.Args))
			for i, a := range call.Args {
				args[i] = a
			}
			require.NoError(t, c.ScriptLoad(ctx, call.Script.Source).Err())
			behind, before := 0, 0
			for i := range 6000 {
				p := c.TxPipeline()
				planted := p.Eval(ctx, plant, call.Keys, i%120, ends)
				p.EvalSha(ctx, string(call.Script.SHA), call.Keys, args...)
				_, err := p.Exec(ctx)
				require.NoError(t, err)
				last, err := strconv.ParseFloat(planted.Val().(string), 64)
				require.NoError(t, err)
				score := c.ZScore(ctx, all[1], key.Task).Val()
				require.Greater(t, score, last)
				if name == "batch" {
					require.Greater(t, c.ZScore(ctx, all[1], "newer").Val(), score)
				}
				if score == last+1 {
					before++
				} else {
					behind++
				}
			}
			assert.NotZero(t, before, "creates up to the microsecond of the last record")
			assert.NotZero(t, behind, "creates after it")
		})
	}
}
