package redislink

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrUnexpectedReply is a permanent failure.
var ErrUnexpectedReply = errors.New("unexpected reply")

// notSent marks the error of a command that was not sent.
type notSent struct{ Err error }

func (e notSent) Error() string { return e.Err.Error() }
func (e notSent) Unwrap() error { return e.Err }

// neverExecuted reports whether err says that no server executed the command: it was not
// sent, or the server refused to begin.
func neverExecuted(err error) bool {
	if errors.As(err, new(*NotAcknowledgedError)) {
		return false
	}
	var denied *DeniedError
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
	// The server names the script in an error that stopped it midway. Only errors of its
	// reads or of its first write leave no partial change.
	if text := refusal.Error(); !strings.Contains(text, "script: ") && !strings.HasPrefix(text, errorInScript) {
		return true
	}
	for _, code := range []string{"OOM", "READONLY", "NOREPLICAS", "MISCONF", "WRONGTYPE"} {
		if Said(err, code) {
			return true
		}
	}
	return false
}

// errorInScript begins the text of an error in a script on servers before 7.0. The code
// follows, after a dash if the server itself refused the command.
const errorInScript = "ERR Error running script"

// Answer returns the server's own words if err is its answer, and otherwise "".
func Answer(err error) string {
	var said redis.Error
	if !errors.As(err, &said) {
		return ""
	}
	return said.Error()
}

// ClientClosed reports whether err says that the client itself was closed.
func ClientClosed(err error) bool { return errors.Is(err, redis.ErrClosed) }

// Said reports whether err is an answer of the server with that code.
func Said(err error, code string) bool {
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return false
	}
	text := refusal.Error()
	return strings.HasPrefix(text, code+" ") || strings.HasPrefix(text, errorInScript) &&
		(strings.Contains(text, ": -"+code+" ") || strings.Contains(text, ": "+code+" "))
}

// BadCredentials reports whether err is a server's refusal of the user or the
// password.
func BadCredentials(err error) bool {
	for _, code := range []string{"WRONGPASS", "NOAUTH", "ERR AUTH", "ERR invalid password"} {
		if Said(err, code) {
			return true
		}
	}
	return false
}

// OfReplica reports whether err is one that only replicas return: that they accept no
// writes, or that they do not answer while they have no master.
func OfReplica(err error) bool { return Said(err, "READONLY") || Said(err, "MASTERDOWN") }

// Refused reports whether err is a server's refusal to execute a well-formed command: the
// user lacks the right, or the command was removed, as managed services do.
func Refused(err error) bool {
	return Said(err, "NOPERM") || Said(err, "ERR unknown command")
}

// circuitOpen reports whether err comes from an open circuit breaker, in a hook or in the
// client's Limiter. Breakers have no common type, but similar messages. An error of the
// connection does not count, even if its address has these words or a breaker repeats it:
// there was an attempt.
func circuitOpen(err error) bool {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "circuit") && strings.Contains(text, "open")
}

// answered reports whether err is the server's answer or comes from it, as opposed to an
// error that kept the call from getting an answer.
func answered(err error) bool {
	if errors.Is(err, ErrUnexpectedReply) {
		return true
	}
	return errors.As(err, new(redis.Error)) && !transient(err)
}

// transient reports whether the same command may succeed if it is resent in a moment.
func transient(err error) bool {
	var unacknowledged *NotAcknowledgedError
	if errors.As(err, &unacknowledged) && unacknowledged.Err == nil {
		return false
	}
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return !errors.Is(err, redis.ErrClosed) && !errors.Is(err, ErrUnexpectedReply) &&
			!errors.As(err, new(*tls.CertificateVerificationError)) && !errors.As(err, new(tls.RecordHeaderError)) &&
			!circuitOpen(err)
	}
	if BadCredentials(err) {
		return true // a password that is being changed reaches servers and clients one by one
	}
	for _, code := range []string{
		"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", // of any server
		"CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", // of a Cluster in transition
		"UNBLOCKED",      // the answer to WAIT from a demoted master
		"ERR max number", // of clients
	} {
		if Said(err, code) {
			return true
		}
	}
	return false
}

// An UncertainError says why it is unknown whether a write was applied.
type UncertainError struct{ Cause error }

func (e *UncertainError) Error() string { return e.Cause.Error() }
func (e *UncertainError) Unwrap() error { return e.Cause }
