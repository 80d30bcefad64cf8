//go:build integration

package taskstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
)

// afterTrips runs f behind each round trip of a listing, told its number from 1 on.
type afterTrips struct {
	f     func(trip int)
	trips int
}

func (a *afterTrips) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (a *afterTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (a *afterTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if len(cmds) > 0 && strings.HasPrefix(cmds[len(cmds)-1].Name(), "zrange") && !strings.HasPrefix(errorText(cmds[0].Err()), "NOSCRIPT") {
			a.trips++
			a.f(a.trips)
		}
		return err
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A task that is deleted and created again while it is listed is in the list once, in
// the latest life that the walk meets, whenever that happens. One that is not read yet
// has its present life, at its present place.
func TestRedisListHasEachTaskOnceInTheLatestLifeItMeets(t *testing.T) {
	ctx := context.Background()
	for _, tasks := range []int{5, 130, 700} { // one batch, two batches, two ranges
		for trip := 1; trip <= 3; trip++ {
			t.Run(fmt.Sprintf("%d tasks, after trip %d", tasks, trip), func(t *testing.T) {
				backends, client := backendsOnOneStore(t, 0)
				writer := backends[0]
				reader, err := NewRedisBackend(client, &RedisOptions{Prefix: writer.opts.Prefix})
				require.NoError(t, err)
				for i := range tasks {
					_, err := writer.Put(ctx, Key{Owner: "o", Task: fmt.Sprint(i)}, Value{Data: []byte("old")})
					require.NoError(t, err)
				}
				again := []string{"3", fmt.Sprint(tasks - 1), "1"}
				ran := false
				client.AddHook(&afterTrips{f: func(n int) {
					if n != trip {
						return
					}
					ran = true
					for _, task := range again {
						_, err := writer.Delete(ctx, Key{Owner: "o", Task: task})
						require.NoError(t, err)
						_, err = writer.PutIfVersion(ctx, Key{Owner: "o", Task: task}, Value{Data: []byte("new")}, 0)
						require.NoError(t, err)
					}
				}})
				list, err := reader.ListByPrefix(ctx, Key{Owner: "o"})
				require.NoError(t, err)
				seen := map[string]string{}
				for _, r := range list {
					assert.Empty(t, seen[r.Key.Task], "the task %s is listed twice", r.Key.Task)
					seen[r.Key.Task] = string(r.Data)
				}
				assert.Len(t, seen, tasks, "every task lived all the time")
				if !ran || trip > 1 {
					return // some were read before
				}
				end := list[len(list)-len(again):]
				for i, task := range again {
					assert.Equal(t, Record{Key: Key{Owner: "o", Task: task}, Version: 1, Value: Value{Data: []byte("new")}}, end[i])
				}
			})
		}
	}
}

// A pause, long or short, adds no round trip to a read: a record far from its end is read in
// one.
func TestRedisGetAfterAPauseIsOneRoundTrip(t *testing.T) {
	ctx := context.Background()
	backends, client := backendsOnOneStore(t, 0)
	reader, err := NewRedisBackend(client, &RedisOptions{Prefix: backends[0].opts.Prefix})
	require.NoError(t, err)
	key := Key{Owner: "o", Task: "t"}
	now, err := reader.Now(ctx)
	require.NoError(t, err)
	at := time.Now()
	_, err = reader.Put(ctx, key, Value{ExpiresAt: now.Add(time.Hour)})
	require.NoError(t, err)
	var mu sync.Mutex
	counts := map[string]int{}
	client.AddHook(countHook(func(name string) {
		mu.Lock()
		defer mu.Unlock()
		counts[name]++
	}))
	for i, pause := range []time.Duration{0, 11 * time.Second, 10 * time.Minute} {
		reader.link.Clock.Set(now.Add(-pause), at.Add(-pause), at.Add(-pause))
		_, err = reader.Get(ctx, key)
		require.NoError(t, err)
		mu.Lock()
		assert.Equal(t, i+1, counts["hmget"], "after %v", pause)
		assert.LessOrEqual(t, counts["evalsha"], i, "the clock is read in the background")
		mu.Unlock()
		require.Eventually(t, func() bool {
			reader.link.MaybePast(1) // has an old reading renewed, unless a renewal is under way
			_, _, age := reader.link.Clock.Estimate()
			return age < 5*time.Second
		}, 5*time.Second, time.Millisecond)
	}
}

// countHook is told the name of each command that goes by itself.
type countHook func(name string)

func (h countHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h countHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h(cmd.Name())
		return next(ctx, cmd)
	}
}
func (h countHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A resend goes by the clock that the server has now, and counts from the begin of the
// call: a record that was made since may be the call's own.
func TestResentCreateTakesNoRecordOfItsOwnTimeForAnEarlierOne(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		stepped time.Duration // by how much the server's clock stepped back since it was read
		age     time.Duration // of that reading
		passes  time.Duration // between the writes of others and the resend
	}{
		"TheClockSteppedBack":            {stepped: 500 * time.Millisecond},
		"TheResendIsLate":                {passes: 60 * time.Millisecond},
		"TheResendIsLateAndTheReadingIs": {passes: 60 * time.Millisecond, age: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := faultproxy.New()
			t.Cleanup(proxy.Close)
			opts := &RedisOptions{Prefix: uuid.NewString()}
			open := func(o *redis.Options) (*RedisBackend, *redis.Client) {
				o.Addr = redistest.Shared(t).Addr()
				client := redis.NewClient(o)
				t.Cleanup(func() { _ = client.Close() })
				b, err := NewRedisBackend(client, opts)
				require.NoError(t, err)
				return b, client
			}
			mine, client := open(&redis.Options{Dialer: proxy.Dial})
			other, _ := open(&redis.Options{})
			key := Key{Owner: uuid.NewString(), Task: "task"}
			_, err := other.PutIfVersion(ctx, Key{Owner: key.Owner, Task: "loads the script"}, Value{}, 0)
			require.NoError(t, err)
			now, err := mine.Now(ctx)
			require.NoError(t, err)
			at := time.Now().Add(-c.age)
			mine.link.Clock.Set(now.Add(c.stepped-c.age), at, at)
			proxy.Set(faultproxy.Faults{Plan: []faultproxy.Fault{faultproxy.DropReply}, Match: func(args []string) bool {
				return strings.HasPrefix(strings.ToLower(args[0]), "eval")
			}})
			client.AddHook(&afterFailure{f: func() { // before the write is sent again
				for range 9 {
					_, err := other.Put(ctx, key, Value{Data: []byte("other")})
					assert.NoError(t, err)
				}
				time.Sleep(c.passes)
			}})
			_, err = mine.PutIfVersion(ctx, key, Value{Data: []byte("mine")}, 0)
			assert.ErrorIs(t, err, ErrOutcomeUnknown)
			assert.NotErrorIs(t, err, ErrVersionConflict)
		})
	}
}

// afterFailure runs f once, behind the first command that fails.
type afterFailure struct {
	f    func()
	done bool
}

func (a *afterFailure) DialHook(next redis.DialHook) redis.DialHook { return next }
func (a *afterFailure) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil && !a.done {
			a.done = true
			a.f()
		}
		return err
	}
}
func (a *afterFailure) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
