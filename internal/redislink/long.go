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

// A server that is sent a value longer than its proto-max-bulk-len, or a command longer
// than its client-query-buffer-limit, closes the connection, and mostly what it says of
// that is lost with it. So a longWrite asks, when a connection was lost, whether the
// server takes as much.
type longWrite struct {
	l       *Link
	key     string // of the record: in a Cluster its node is asked
	size    int    // of all data
	longest int    // of the data of one record
	rest    int    // at most, of what is sent besides
	cuts    int    // connections lost while the server answers otherwise
}

// Neither setting can be less than leastLong. After maxCuts connections lost in a row
// no more are tried, where the server does not tell its settings.
const (
	leastLong = 1 << 20
	maxCuts   = 3
)

// A TooLongError says that a server does not take so many bytes of data, as far as is
// known: by its settings, by what it said, or because connections were lost.
type TooLongError struct {
	Size int   // of the data
	Max  int   // by its settings; 0: they are not known
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
	return fmt.Sprintf("the connection was lost %d times while %d bytes of data were sent, and the server answers otherwise; see its proto-max-bulk-len: %v", e.Cuts, e.Size, e.Err)
}

// Unwrap returns the latest failure.
func (e *TooLongError) Unwrap() error { return e.Err }

// refusal returns an error if err, of a copy of the write (nil: none), seems to say that the server
// does not take so long a one; an UncertainError where that is not sure.
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

// ask asks the server how many bytes of data it takes, of the size that it limits, and if
// it does not tell whether it answers at all.
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
						return answer{answers: a.answers}, nil // it is the rest that decides
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

// longRest is what a command has besides the data of each record, at most: names, mostly.
const longRest = 32 << 10
