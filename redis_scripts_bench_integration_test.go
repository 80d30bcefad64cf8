//go:build integration

package taskstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
	"github.com/taskstore/taskstore/internal/redistest"
)

// BenchmarkScripts compares the server's time for the scripts with that for those of
// another commit, in turns, and reports the median of the turns' ratios. A turn is 2,000
// calls for 200 owners, with 1 KiB of data, as INFO commandstats counts them.
//
//	mkdir /tmp/before && for s in put putIfVersion delete; do git show COMMIT:testdata/lua/$s.lua >/tmp/before/$s.lua; done
//	TASKSTORE_SCRIPTS_BEFORE=/tmp/before go test -tags integration -run - -bench Scripts -benchtime 60x .
func BenchmarkScripts(b *testing.B) {
	before := os.Getenv("TASKSTORE_SCRIPTS_BEFORE")
	if before == "" {
		b.Skip("TASKSTORE_SCRIPTS_BEFORE names no folder with scripts to compare with")
	}
	c := redis.NewClient(&redis.Options{Addr: redistest.Start(b).Addr()})
	b.Cleanup(func() { _ = c.Close() })
	now := newScripts(0, "PUBLISH", "", false)
	old := func(name string) *redislink.Script {
		source, err := os.ReadFile(filepath.Join(before, name+".lua"))
		require.NoError(b, err)
		return redislink.NewScript(name, string(source))
	}
	expires, data := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10), string(make([]byte, 1<<10))
	type side struct {
		put, remove *redislink.Script
		batch       *redislink.Script // nil: the puts one by one
		keys        redisKeys
	}
	sides := []*side{
		{put: old("putIfVersion"), remove: old("delete"), keys: redisKeys{prefix: "old"}},
		{put: now.putIfVersion, remove: now.delete, batch: now.batch, keys: redisKeys{prefix: "new"}},
	}
	put := func(expires, was, limit string, collections ...string) func(s *side, i int) []redislink.Call {
		return func(s *side, i int) (calls []redislink.Call) {
			var keys, args []string
			op := newOperationID()
			for nth, collection := range collections {
				k := servedKey(i, collection)
				all, value := s.keys.all(k), []string{data, later(expires, i), k.Task, was, "1", limit}
				expected := was
				if nth > 0 {
					expected = "" // the entry of a task is put over any version
				}
				keys, args = append(keys, all[:]...), append(args, data, later(expires, i), k.Task, expected, limit)
				if was != "0" {
					value = value[:5]
				}
				calls = append(calls, redislink.Call{Script: s.put, Keys: all[:], Args: append([]string{op}, value...)})
			}
			if len(collections) > 1 && s.batch != nil {
				return []redislink.Call{{Script: s.batch, Keys: keys, Args: append([]string{op}, args...)}}
			}
			return calls
		}
	}
	remove := func(s *side, i int) []redislink.Call {
		k := servedKey(i, "")
		all := s.keys.all(k)
		return []redislink.Call{{Script: s.remove, Keys: all[:], Args: []string{k.Task}}}
	}
	none := func(*side, int) []redislink.Call { return nil }
	for _, contest := range []struct {
		name   string
		there  func(s *side, i int) []redislink.Call // not measured
		served func(s *side, i int) []redislink.Call
	}{
		{"create", none, put(expires, "0", "0", "")},
		{"create,limit", none, put(expires, "0", "1000", "")},
		{"create,permanent", none, put("", "0", "0", "")},
		{"update", put(expires, "0", "0", ""), put(expires, "1", "", "")},
		{"update,permanent", put("", "0", "0", ""), put("", "1", "", "")},
		{"delete", put(expires, "0", "0", ""), remove},
		{"delete,permanent", put("", "0", "0", ""), remove},
		{"task+entry", none, put(expires, "0", "1000", "", "active")},
	} {
		b.Run(contest.name, func(b *testing.B) {
			took := make([][]float64, 3) // of each side, and the ratios
			for range b.N {
				for _, i := range rand.Perm(2) {
					require.NoError(b, c.FlushDB(context.Background()).Err())
					servedTime(b, c, func(n int) []redislink.Call { return contest.there(sides[i], n) })
					took[i] = append(took[i], servedTime(b, c, func(n int) []redislink.Call { return contest.served(sides[i], n) }))
				}
				last := len(took[0]) - 1
				took[2] = append(took[2], took[1][last]/took[0][last])
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(took[0]), "before-µs")
			b.ReportMetric(middle(took[1]), "now-µs")
			b.ReportMetric(middle(took[2]), "ratio")
		})
	}
}

const served, servedOwners = 2000, 200

func servedKey(i int, collection string) Key {
	return Key{Owner: fmt.Sprint("owner", i%servedOwners), Collection: collection, Task: fmt.Sprint("task", i)}
}

// later lets each record expire a little later than the one before, as those of one TTL do.
func later(expires string, i int) string {
	if expires == "" {
		return ""
	}
	ms, _ := strconv.Atoi(expires)
	return strconv.Itoa(ms + i)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func evaluate(c *redis.Client, call redislink.Call) error {
	args := make([]any, len(call.Args))
	for i, a := range call.Args {
		args[i] = a
	}
	err := c.EvalSha(context.Background(), string(call.Script.SHA), call.Keys, args...).Err()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = c.Eval(context.Background(), call.Script.Source, call.Keys, args...).Err()
	}
	return err
}

var evalshaTime = regexp.MustCompile(`cmdstat_evalsha:calls=\d+,usec=(\d+)`)

// servedTime returns the microseconds that the server spends on the calls of one i.
func servedTime(b *testing.B, c *redis.Client, calls func(i int) []redislink.Call) float64 {
	for _, call := range calls(0) {
		require.NoError(b, c.ScriptLoad(context.Background(), call.Script.Source).Err())
	}
	require.NoError(b, c.ConfigResetStat(context.Background()).Err())
	for i := range served {
		for _, call := range calls(i) {
			require.NoError(b, evaluate(c, call))
		}
	}
	m := evalshaTime.FindStringSubmatch(c.Info(context.Background(), "commandstats").Val())
	if m == nil {
		return 0
	}
	us, err := strconv.ParseFloat(m[1], 64)
	require.NoError(b, err)
	return us / served
}
