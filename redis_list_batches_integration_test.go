//go:build integration

package taskstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// batchHook notes how many records each round trip of a listing asks for, 0 for a trip that
// asks only for names. It has the trips in late time out.
type batchHook struct {
	late  map[int]bool
	asked []int
}

func (h *batchHook) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *batchHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *batchHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		records, listing := 0, false
		for _, cmd := range cmds {
			switch args := cmd.Args(); cmd.Name() {
			case "hmget":
				records++
			case "evalsha":
				var most, keys int
				_, _ = fmt.Sscan(fmt.Sprint(args[len(args)-1], " ", args[2]), &most, &keys)
				records += min(most, keys-1)
			case "zrange", "zrangebyscore":
				listing = true
			}
		}
		if !listing {
			return next(ctx, cmds)
		}
		h.asked = append(h.asked, records)
		if !h.late[len(h.asked)] {
			return next(ctx, cmds)
		}
		err := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
		return err
	}
}

// After a round trip that takes too long, the listing asks for half as many records, down to
// one. The rule holds if the listing chose them by their lengths, and if the server chose.
// After a late trip for names only, the number stays.
func TestRedisListsAskForHalfAsManyAfterATimeout(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		late  []int
		asked []int // by the first trips
	}{
		"Never":         {nil, []int{0, 128, 372, 200}},
		"TheNames":      {[]int{1, 2}, []int{0, 0, 0, 128}},
		"ByTheServer":   {[]int{2, 3}, []int{0, 128, 64, 32, 37, 42}},
		"ByTheirLength": {[]int{3, 4, 5}, []int{0, 128, 372, 186, 93, 46, 52}},
		"DownToOne":     {[]int{2, 3, 4, 5, 6, 7, 8, 9, 10}, []int{0, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			backends, client := backendsOnOneStore(t, 0)
			const tasks = 700
			for i := range tasks {
				_, err := backends[0].Put(ctx, Key{Owner: "o", Task: fmt.Sprint(i)}, Value{Data: []byte("x")})
				require.NoError(t, err)
			}
			_, err := backends[0].ListByPrefix(ctx, Key{Owner: "o"}) // the server has the script
			require.NoError(t, err)
			h := &batchHook{late: map[int]bool{}}
			for _, trip := range c.late {
				h.late[trip] = true
			}
			client.AddHook(h)
			reader, err := NewRedisBackend(client, &RedisOptions{Prefix: backends[0].opts.Prefix})
			require.NoError(t, err)
			list, err := reader.ListByPrefix(ctx, Key{Owner: "o"})
			require.NoError(t, err)
			assert.Len(t, list, tasks)
			assert.Equal(t, c.asked, h.asked[:min(len(h.asked), len(c.asked))])
		})
	}
}
