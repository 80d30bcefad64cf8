package peers

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A pair is the value of a key in kvtools/valkeyrie with its JSON codec, which its
// compare-and-swap needs.
type pair struct {
	Key       string
	Value     []byte
	LastIndex uint64
}

// valkeyrieSwap compares and swaps as valkeyrie's Redis store does: the whole old
// value is sent along, and both values are decoded to compare one number in them.
//
//	ARGV 1 key, 2 old value, 3 new value, 4 life in seconds
var valkeyrieSwap = redis.NewScript(`
if redis.call('EXISTS', ARGV[1]) == 0 then return redis.error_reply('gone') end
local stored, old = cjson.decode(redis.call('GET', ARGV[1])), cjson.decode(ARGV[2])
if stored['LastIndex'] ~= old['LastIndex'] then return redis.error_reply('changed') end
return redis.call('SET', ARGV[1], ARGV[3], 'EX', ARGV[4])`)

// Valkeyrie sends the commands of valkeyrie's Redis store, through code of ours:
// SETNX, GET, the script, DEL, and SCAN with MGET to list. It needs a database of
// its own, since SCAN walks through all keys.
func Valkeyrie(c *redis.Client) Peer {
	name := func(owner, task string) string { return owner + "/" + task }
	next := func(key string, data []byte) (pair, string, error) {
		p := pair{key, data, uint64(time.Now().Nanosecond())}
		text, err := json.Marshal(p)
		return p, string(text), err
	}
	return Peer{
		Name:  "valkeyrie's commands",
		Swaps: true,
		Create: func(ctx context.Context, owner, task string, data []byte) (Record, error) {
			p, text, err := next(name(owner, task), data)
			if err != nil {
				return Record{}, err
			}
			err = c.SetArgs(ctx, p.Key, text, redis.SetArgs{Mode: "NX", TTL: life}).Err()
			if errors.Is(err, redis.Nil) {
				err = ErrConflict
			}
			return Record{p.LastIndex, data}, err
		},
		Get: func(ctx context.Context, owner, task string) (Record, error) {
			text, err := c.Get(ctx, name(owner, task)).Bytes()
			if err != nil {
				return Record{}, err
			}
			var p pair
			err = json.Unmarshal(text, &p)
			return Record{p.LastIndex, p.Value}, err
		},
		Update: func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			p, text, err := next(name(owner, task), data)
			if err != nil {
				return Record{}, err
			}
			old, err := json.Marshal(pair{p.Key, prev.Data, prev.Revision})
			if err != nil {
				return Record{}, err
			}
			err = valkeyrieSwap.Run(ctx, c, nil, p.Key, string(old), text, strconv.Itoa(int(life.Seconds()))).Err()
			if err != nil && strings.Contains(err.Error(), "changed") {
				err = ErrConflict
			}
			return Record{p.LastIndex, data}, err
		},
		Delete: func(ctx context.Context, owner, task string) error { return c.Del(ctx, name(owner, task)).Err() },
		List: func(ctx context.Context, owner string) (int, error) {
			return valkeyrieList(ctx, c, owner)
		},
	}
}

func valkeyrieList(ctx context.Context, c *redis.Client, owner string) (int, error) {
	var keys []string
	for cursor := uint64(0); ; {
		found, next, err := c.Scan(ctx, cursor, owner+"/*", 10).Result()
		if err != nil {
			return 0, err
		}
		keys = append(keys, found...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	values, err := c.MGet(ctx, keys...).Result()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, v := range values {
		text, _ := v.(string)
		var p pair
		if text == "" || json.Unmarshal([]byte(text), &p) != nil {
			continue
		}
		n++
	}
	return n, nil
}
