package taskstore

import (
	"errors"
	"fmt"

	"github.com/taskstore/taskstore/internal/redislink"
)

// failure turns the error of a command into the one that the caller sees. verb
// says what was tried.
func failure(verb string, key Key, err error) error {
	err = redislink.Redact(err)
	var uncertain *redislink.UncertainError
	switch {
	case errors.As(err, &uncertain):
		return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, verb, uncertain.Cause)
	case errors.As(err, new(*CapacityError)):
		return err
	case redislink.Said(err, "WRONGTYPE"):
		return &CorruptError{Key: key, Reason: "a key of the record or its indexes holds a value of another type", Err: err}
	case redislink.OfReplica(err):
		return fmt.Errorf("taskstore: %s: %w: %w", verb, errReplica, err)
	case redislink.Said(err, "OOM"):
		return fmt.Errorf("%w: the server is out of memory: %w", ErrCapacityExceeded, err)
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}
