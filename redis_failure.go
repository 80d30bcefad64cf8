package taskstore

import (
	"errors"
	"fmt"

	"github.com/taskstore/taskstore/internal/redislink"
)

// errReplica says what READONLY means.
var errReplica = errors.New("the server is a replica, which takes no writes and may lag behind; name its master, its Sentinels or its Cluster")

// tooLong is what the caller is told of data that the server does not take.
func tooLong(e *redislink.TooLongError) error {
	if e.Max > 0 {
		return &CapacityError{Limit: LimitData, Max: uint64(e.Max), Asked: uint64(e.Size)}
	}
	return fmt.Errorf("%w: %w", ErrCapacityExceeded, e)
}

// failure turns the error of a command into the one that the caller sees. verb
// says what was tried.
func failure(verb string, key Key, err error) error {
	err = redislink.Redact(err)
	var uncertain *redislink.UncertainError
	var long *redislink.TooLongError
	switch {
	case errors.As(err, &uncertain):
		cause := uncertain.Cause
		if errors.As(cause, &long) {
			cause = tooLong(long)
		}
		return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, verb, cause)
	case errors.As(err, &long) && long.Max > 0:
		return tooLong(long)
	case errors.As(err, &long):
		err = tooLong(long)
	case redislink.Said(err, "WRONGTYPE"):
		return &CorruptError{Key: key, Reason: "a key of the record or its indexes holds a value of another type", Err: err}
	case redislink.OfReplica(err):
		return fmt.Errorf("taskstore: %s: %w: %w", verb, errReplica, err)
	case redislink.Said(err, "OOM"):
		return fmt.Errorf("%w: the server is out of memory: %w", ErrCapacityExceeded, err)
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}
