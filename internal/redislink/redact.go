package redislink

import (
	"errors"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// quoted begins the part that a server adds to its refusal of an unknown or forbidden
// command: the first arguments, which may be keys, data or a password.
const quoted = ", with args beginning with"

// Redact returns err without the arguments that a server may have quoted, and without the
// name of the user.
func Redact(err error) error {
	var said redis.Error
	if errors.As(err, &said) {
		text, _, found := strings.Cut(said.Error(), quoted)
		if unnamed := namedUser.ReplaceAllString(text, "the user has"); found || unnamed != text {
			return redactedError(unnamed)
		}
	}
	return err
}

// namedUser matches the user in a refusal by servers from 7.2 on.
var namedUser = regexp.MustCompile(`\bUser \S* ?has\b`)

// A redactedError is the part of a server's error that may be repeated.
type redactedError string

func (e redactedError) Error() string { return string(e) }

// RedisError marks an answer of a server, see [redis.Error].
func (redactedError) RedisError() {}
