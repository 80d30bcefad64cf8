package redislink

import (
	"errors"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// quoted starts what a server adds when it does not know, or does not let us use,
// a command: the first arguments, which may be keys, data or a password.
const quoted = ", with args beginning with"

// Redact returns err without what a server may have quoted of our commands, and
// without the name of the user.
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

// namedUser is how servers from 7.2 on name the user in a refusal.
var namedUser = regexp.MustCompile(`\bUser \S* ?has\b`)

// A redactedError is an error of a server, as much of it as may be repeated.
type redactedError string

func (e redactedError) Error() string { return string(e) }

// RedisError marks an answer of a server, see [redis.Error].
func (redactedError) RedisError() {}
