package taskstore

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// notSent marks an error of a command that never left.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// neverExecuted reports whether err says that no server executed the command: it
// was not sent, or the server refused to begin.
func neverExecuted(err error) bool {
	if errors.As(err, new(*notAcknowledgedError)) {
		return false
	}
	var denied *deniedError
	if errors.As(err, &denied) {
		return denied.unchanged()
	}
	if errors.As(err, new(notSent)) || errors.Is(err, redis.ErrPoolTimeout) ||
		errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, redis.ErrAutoPipelineTimeout) || errors.Is(err, redis.ErrAutoPipelineQueueFull) {
		return true
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return circuitOpen(err)
	}
	// The server names the script in an error that stopped it on the way. Only
	// those that stop its reads or its first write leave nothing half done.
	if text := refusal.Error(); !strings.Contains(text, "script: ") && !strings.HasPrefix(text, errorInScript) {
		return true
	}
	for _, code := range []string{"OOM", "READONLY", "NOREPLICAS", "MISCONF", "WRONGTYPE"} {
		if serverSaid(err, code) {
			return true
		}
	}
	return false
}

// errorInScript starts what servers before 7.0 say of an error in a script. The
// code follows, with a dash where the server itself refused the command.
const errorInScript = "ERR Error running script"

// serverSaid reports whether err is an answer of the server with that code.
func serverSaid(err error, code string) bool {
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return false
	}
	text := refusal.Error()
	return strings.HasPrefix(text, code+" ") || strings.HasPrefix(text, errorInScript) &&
		(strings.Contains(text, ": -"+code+" ") || strings.Contains(text, ": "+code+" "))
}

// badCredentials reports whether err is a server's refusal of the user or the
// password.
func badCredentials(err error) bool {
	for _, code := range []string{"WRONGPASS", "NOAUTH", "ERR AUTH", "ERR invalid password"} {
		if serverSaid(err, code) {
			return true
		}
	}
	return false
}

// ofReplica reports whether err is what only a replica says: that it takes no writes, or
// that it answers nothing while it has no master.
func ofReplica(err error) bool { return serverSaid(err, "READONLY") || serverSaid(err, "MASTERDOWN") }

// refused reports whether err is a server's refusal to execute a command that is
// well-formed: of managed services too, which have commands taken away.
func refused(err error) bool {
	return serverSaid(err, "NOPERM") || serverSaid(err, "ERR unknown command")
}

// circuitOpen reports whether err is that of a circuit breaker, in a hook or in the
// client's Limiter, that lets nothing through for some time. Breakers have no common
// type; what they say is alike. An error of the connection is none, whatever is in its
// address, and where a breaker repeats one there was an attempt.
func circuitOpen(err error) bool {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "circuit") && strings.Contains(text, "open")
}

// quoted starts what a server adds when it does not know, or does not let us use,
// a command: the first arguments, which may be keys, data or a password.
const quoted = ", with args beginning with"

// discreet returns err without what a server may have quoted of our commands, and
// without the name of the user.
func discreet(err error) error {
	var said redis.Error
	if errors.As(err, &said) {
		text, _, found := strings.Cut(said.Error(), quoted)
		if unnamed := namedUser.ReplaceAllString(text, "the user has"); found || unnamed != text {
			return discreetError(unnamed)
		}
	}
	return err
}

// namedUser is how servers from 7.2 on name the user in a refusal.
var namedUser = regexp.MustCompile(`\bUser \S* ?has\b`)

// A discreetError is an error of a server, as much of it as may be repeated.
type discreetError string

func (e discreetError) Error() string { return string(e) }

// RedisError marks an answer of a server, see [redis.Error].
func (discreetError) RedisError() {}

// An uncertainError is why it is not known whether a write was applied.
type uncertainError struct{ cause error }

func (e *uncertainError) Error() string { return e.cause.Error() }
func (e *uncertainError) Unwrap() error { return e.cause }

// failure turns the error of a command into the one that the caller sees. verb
// says what was tried.
func failure(verb string, key Key, err error) error {
	err = discreet(err)
	var uncertain *uncertainError
	switch {
	case errors.As(err, &uncertain):
		return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, verb, uncertain.cause)
	case errors.As(err, new(*CapacityError)):
		return err
	case serverSaid(err, "WRONGTYPE"):
		return &CorruptError{Key: key, Reason: "a key of the record or its indexes holds a value of another type", Err: err}
	case ofReplica(err):
		return fmt.Errorf("taskstore: %s: %w: %w", verb, errReplica, err)
	case serverSaid(err, "OOM"):
		return fmt.Errorf("%w: the server is out of memory: %w", ErrCapacityExceeded, err)
	}
	return fmt.Errorf("taskstore: %s: %w", verb, err)
}
