package taskstore

import (
	"context"
	"errors"
	"strconv"

	"github.com/taskstore/taskstore/internal/redislink"
)

// PutBatch implements [Batcher]: all writes are one script and one round trip. The
// script recognises a batch that is resent after a lost answer, see RedisBackend.
func (b *RedisBackend) PutBatch(ctx context.Context, writes []Write) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := ValidateBatch(writes, b.opts.MaxDataBytes); err != nil {
		return err
	}
	batch := make(recordBatch, len(writes))
	keys, args := make([]string, 0, 3*len(writes)), make([]string, 1, 2+5*len(writes))
	args[0] = newOperationID()
	size, longest := 0, 0
	for i, w := range writes {
		record := b.keys.all(w.Key)
		most := w.RecordLimit(ctx, b.limit.most)
		batch[i] = recordWrite{key: w.Key, limit: recordLimit{most: most}}
		var expires, expected string
		if expiresAt := w.expiryMillis(); expiresAt != 0 {
			expires = strconv.FormatInt(expiresAt, 10)
		}
		if w.Expected != AnyVersion {
			expected = strconv.FormatUint(uint64(w.Expected), 10)
		}
		keys = append(keys, record[:]...)
		args = append(args, string(w.Data), expires, w.Key.Task, expected, strconv.Itoa(most)) // Data is copied, see prepare
		size, longest = size+len(w.Data), max(longest, len(w.Data))
	}
	r, err := b.link.Write(ctx, &redislink.Write{
		First: redislink.Call{Script: b.scripts.batch, Keys: keys, Args: args},
		Again: redislink.Call{Script: b.scripts.batchAgain, Keys: keys, Args: args},
		ByAge: true,
		Size:  size, Longest: longest,
	}, func(ctx context.Context, write int) bool { return b.recount(ctx, scopeOf(writes[write].Key)) })
	return batch.result(writes, r, err)
}

// A recordBatch holds, of each write of a PutBatch, the part that its result needs.
type recordBatch []recordWrite

// result is the caller's error for a batch that ended with r or err.
func (batch recordBatch) result(writes []Write, r redislink.Reply, err error) error {
	const verb = "put batch"
	if err != nil {
		err = failure(verb, Key{}, err)
		var full *CapacityError
		if errors.As(err, &full) && full.Limit == LimitData && !errors.Is(err, ErrOutcomeUnknown) {
			for i, w := range writes {
				if uint64(len(w.Data)) > full.Max { // otherwise the writes are too long together
					return &BatchError{Index: i, Err: err}
				}
			}
		}
		return err
	}
	if r.Status == redislink.StatusOK {
		return nil
	}
	_, err = batch[r.Write].result(verb, writes[r.Write].Expected, r, nil)
	if errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	return &BatchError{Index: r.Write, Err: err}
}
