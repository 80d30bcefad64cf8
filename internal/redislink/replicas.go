package redislink

import (
	"fmt"
	"time"
)

// A NotAcknowledgedError says that a write was applied and that too few replicas
// have it, as far as is known.
type NotAcknowledgedError struct {
	Acks, Want int64
	Timeout    time.Duration
	Err        error // why it is not known; nil: WAIT has counted them
}

func (e *NotAcknowledgedError) Error() string {
	if e.Err != nil {
		return "replicas were not asked: " + e.Err.Error()
	}
	return fmt.Sprintf("%d of %d replicas acknowledged it within %v", e.Acks, e.Want, e.Timeout)
}

func (e *NotAcknowledgedError) Unwrap() error { return e.Err }
