package peers

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The model is the layout of the Rust crate pmcp-tasks: a hash for each task, a sorted set for
// each owner, scripts that write the whole task, and a listing of one round trip for each
// task. The scripts are ours; the commands in them are the crate's.
const modelWrite = `
local version = tonumber(current) + 1
redis.call('HSET', KEYS[1], 'version', tostring(version), 'data', ARGV[1])
redis.call('HSET', KEYS[1], 'expires_at', ARGV[2])
redis.call('EXPIREAT', KEYS[1], tonumber(ARGV[2]))
redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[4])
return version`

// Both have KEYS 1 task, 2 index; ARGV 1 data, 2 expiry in Unix seconds,
// 3 time of creation, 4 task id.
var (
	modelPut = redis.NewScript(`
local current = redis.call('HGET', KEYS[1], 'version') or '0'` + modelWrite)

	// modelSwap has ARGV 5, the expected version, besides.
	modelSwap = redis.NewScript(`
local current = redis.call('HGET', KEYS[1], 'version')
if not current then return -1 end
if tonumber(current) ~= tonumber(ARGV[5]) then return 0 end` + modelWrite)

	modelDelete = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1`)
)

func modelKeys(owner, task string) (record, index string) {
	return "model:task:" + owner + ":" + task, "model:idx:" + owner
}

// Model is the model on Redis. Its create overwrites a task that is there.
func Model(c *redis.Client) Peer {
	expires := strconv.FormatInt(time.Now().Add(life).Unix(), 10)
	created := strconv.FormatInt(time.Now().Unix(), 10)
	return Peer{
		Name:  "model",
		Swaps: true,
		Create: func(ctx context.Context, owner, task string, data []byte) (Record, error) {
			record, index := modelKeys(owner, task)
			n, err := modelPut.Run(ctx, c, []string{record, index}, data, expires, created, task).Uint64()
			return Record{n, data}, err
		},
		Get: func(ctx context.Context, owner, task string) (Record, error) {
			record, _ := modelKeys(owner, task)
			fields, err := c.HGetAll(ctx, record).Result()
			if err != nil {
				return Record{}, err
			}
			return modelDecode(fields)
		},
		Update: func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			record, index := modelKeys(owner, task)
			n, err := modelSwap.Run(ctx, c, []string{record, index}, data, expires, created, task,
				strconv.FormatUint(prev.Revision, 10)).Int64()
			if err == nil && n <= 0 {
				err = ErrConflict
			}
			return Record{uint64(max(n, 0)), data}, err
		},
		Delete: func(ctx context.Context, owner, task string) error {
			record, index := modelKeys(owner, task)
			return modelDelete.Run(ctx, c, []string{record, index}, task).Err()
		},
		List: func(ctx context.Context, owner string) (int, error) { return modelList(ctx, c, owner) },
	}
}

// modelDecode reads a hash. The process's clock judges its expiry.
func modelDecode(fields map[string]string) (Record, error) {
	n, err := strconv.ParseUint(fields["version"], 10, 64)
	if err != nil {
		return Record{}, redis.Nil
	}
	if e := fields["expires_at"]; e != "" {
		at, err := strconv.ParseInt(e, 10, 64)
		if err != nil || at <= time.Now().Unix() {
			return Record{}, redis.Nil
		}
	}
	return Record{n, []byte(fields["data"])}, nil
}

func modelList(ctx context.Context, c *redis.Client, owner string) (n int, err error) {
	_, index := modelKeys(owner, "")
	tasks, err := c.ZRange(ctx, index, 0, -1).Result()
	if err != nil {
		return 0, err
	}
	var gone []any
	for _, task := range tasks {
		record, _ := modelKeys(owner, task)
		fields, err := c.HGetAll(ctx, record).Result()
		if err != nil {
			return 0, err
		}
		if len(fields) == 0 {
			gone = append(gone, task)
			continue
		}
		if _, err := modelDecode(fields); err == nil {
			n++
		}
	}
	if len(gone) > 0 {
		err = c.ZRem(ctx, index, gone...).Err()
	}
	return n, err
}
