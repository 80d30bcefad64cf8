package redislink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server closes the connection on a value longer than its proto-max-bulk-len and on a
// command longer than its client-query-buffer-limit, and its explanation is usually lost
// with the connection. So after a lost connection a longWrite asks whether the server takes
// that much.
type longWrite struct {
	l       *Link
	key     string // of the record: in a Cluster its node is asked
	size    int    // of all data
	longest int    // of the data of one record
	rest    int    // the most bytes that are sent besides the data
	cuts    int    // connections lost in a row while the server answers other commands
}

// Neither setting can be less than leastLong. If the server does not tell its settings, the
// write gives up after maxCuts lost connections in a row.
const (
	leastLong = 1 << 20
	maxCuts   = 3
)

// A TooLongError says that a server does not take that much data, as far as is known: its
// settings or its answer say so, or connections were lost.
type TooLongError struct {
	Size int   // of the data
	Max  int   // by its settings; 0: unknown
	Cuts int   // connections lost in a row; 0: the server said it
	Err  error // the latest failure; nil: the settings tell
}

func (e *TooLongError) Error() string {
	switch {
	case e.Max > 0:
		return fmt.Sprintf("the server takes %d bytes of data, not %d", e.Max, e.Size)
	case e.Cuts == 0:
		return fmt.Sprintf("the server refuses %d bytes of data: %v", e.Size, e.Err)
	}
	return fmt.Sprintf("the connection was lost %d times while the client sent %d bytes of data, and the server answers other commands; check its proto-max-bulk-len: %v", e.Cuts, e.Size, e.Err)
}

// Unwrap returns the latest failure.
func (e *TooLongError) Unwrap() error { return e.Err }

// refusal returns an error if err suggests that the server does not take a write of this
// length, and an UncertainError if that is not sure. err is that of a copy of the write, or
// nil.
func (w *longWrite) refusal(ctx context.Context, err error) error {
	if err == nil || w.size < leastLong-w.rest || ctx.Err() != nil || errors.As(err, new(*NotAcknowledgedError)) {
		return nil
	}
	var said redis.Error
	saidSo := errors.As(err, &said) && strings.Contains(said.Error(), "Protocol error")
	if !saidSo && (said != nil || neverExecuted(err)) {
		return nil
	}
	size, most, known, answers := w.ask(ctx)
	switch {
	case known && size > most:
		return &TooLongError{Size: size, Max: most}
	case saidSo:
		return &TooLongError{Size: w.size, Err: err}
	case known:
		return nil
	case !answers:
		w.cuts = 0
		return nil
	}
	if w.cuts++; w.cuts < maxCuts {
		return nil
	}
	return &UncertainError{Cause: &TooLongError{Size: w.size, Cuts: w.cuts, Err: Redact(err)}}
}

// ask asks the server for the setting that leaves the least room: its limit is most, and
// the bytes of the write that count against it are size. known is false if the settings do
// not decide; answers tells whether the server answers at all.
func (w *longWrite) ask(ctx context.Context) (size, most int, known, answers bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	type answer struct {
		size, most     int
		known, answers bool
	}
	a, _ := Detach(ctx, func() (a answer, err error) {
		var node pipeliner = w.l.client
		if w.l.cluster != nil {
			if node, err = w.l.cluster.MasterForKey(ctx, w.key); err != nil {
				return a, err
			}
		}
		settings := []*redis.MapStringStringCmd{settingQuestion(ctx, "proto-max-bulk-len"), settingQuestion(ctx, "client-query-buffer-limit")}
		ping := redis.NewStatusCmd(ctx, "ping")
		_ = askTogether(ctx, node, settings[0], settings[1], ping)
		a.answers = ping.Err() == nil
		for _, setting := range settings {
			for name, value := range setting.Val() {
				n, err := strconv.Atoi(value)
				if err != nil || n <= 0 {
					continue
				}
				size := w.longest
				if name == "client-query-buffer-limit" {
					size = w.size
					if size > n-w.rest && size <= n {
						return answer{answers: a.answers}, nil // the rest decides
					}
				}
				if !a.known || n-size < a.most-a.size {
					a.size, a.most, a.known = size, n, true
				}
			}
		}
		return a, nil
	})
	return a.size, a.most, a.known, a.answers
}

// longRest is the most that a command has besides the data of each record, mainly names.
const longRest = 32 << 10
