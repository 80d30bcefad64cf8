package taskstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A server that is sent a value longer than its proto-max-bulk-len, or a command longer
// than its client-query-buffer-limit, closes the connection, and mostly what it says of
// that is lost with it. So a longWrite asks, when a connection was lost, whether the
// server takes as much.
type longWrite struct {
	b    *RedisBackend
	key  string // of the record: in a Cluster its node is asked
	size int    // of the data
	cuts int    // connections lost while the server answers otherwise
}

// Neither setting can be less than leastLong. After maxCuts connections lost in a row
// no more are tried, where the server does not tell its settings.
const (
	leastLong = 1 << 20
	maxCuts   = 3
)

// refusal returns an error if err, of a copy of the write (nil: none), seems to say that the server
// does not take so long a one; an uncertainError where that is not sure.
func (w *longWrite) refusal(ctx context.Context, err error) error {
	if err == nil || w.size < leastLong-longRest || ctx.Err() != nil || errors.As(err, new(*redislink.NotAcknowledgedError)) {
		return nil
	}
	var said redis.Error
	saidSo := errors.As(err, &said) && strings.Contains(said.Error(), "Protocol error")
	if !saidSo && (said != nil || redislink.NeverExecuted(err)) {
		return nil
	}
	most, known, answers := w.ask(ctx)
	switch {
	case known && w.size > most:
		return &CapacityError{Limit: LimitData, Max: uint64(most), Asked: uint64(w.size)}
	case saidSo:
		return fmt.Errorf("%w: the server refuses %d bytes of data: %w", ErrCapacityExceeded, w.size, err)
	case known:
		return nil
	case !answers:
		w.cuts = 0
		return nil
	}
	if w.cuts++; w.cuts < maxCuts {
		return nil
	}
	return &redislink.UncertainError{Cause: fmt.Errorf("%w: the connection was lost %d times while %d bytes of data were sent, and the server answers otherwise; see its proto-max-bulk-len: %w",
		ErrCapacityExceeded, w.cuts, w.size, redislink.Redact(err))}
}

// ask asks the server how many bytes of data it takes, and if it does not tell whether
// it answers at all.
func (w *longWrite) ask(ctx context.Context) (most int, known, answers bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	type answer struct {
		most           int
		known, answers bool
	}
	a, _ := redislink.Detach(ctx, func() (a answer, err error) {
		var node pipeliner = w.b.client
		if cluster, ok := w.b.client.(clusterClient); ok {
			if node, err = cluster.MasterForKey(ctx, w.key); err != nil {
				return a, err
			}
		}
		pipe := node.Pipeline()
		settings := []*redis.MapStringStringCmd{pipe.ConfigGet(ctx, "proto-max-bulk-len"), pipe.ConfigGet(ctx, "client-query-buffer-limit")}
		ping := pipe.Ping(ctx)
		_, _ = pipe.Exec(ctx)
		a.answers = ping.Err() == nil
		for _, setting := range settings {
			for name, value := range setting.Val() {
				n, err := strconv.Atoi(value)
				if err != nil || n <= 0 {
					continue
				}
				if name == "client-query-buffer-limit" && w.size > n-longRest && w.size <= n {
					return answer{answers: a.answers}, nil // it is the rest that decides
				}
				if !a.known || n < a.most {
					a.most, a.known = n, true
				}
			}
		}
		return a, nil
	})
	return a.most, a.known, a.answers
}

// longRest is what a command has besides the data, at most: names, mostly.
const longRest = 32 << 10
