package pgstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// A class is the fate of the statement that failed.
type class int

const (
	refused class = iota // it was rolled back, and would be again
	undone               // it was rolled back because of other transactions
	unsent               // it did not reach the server
	unknown              // it may have been executed
)

// An unsentError is the failure of a statement that did not reach a server.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// An uncertainError is the failure of a write that may have been applied.
type uncertainError struct{ cause error }

func (e *uncertainError) Error() string { return e.cause.Error() }
func (e *uncertainError) Unwrap() error { return e.cause }

// SQLSTATEs that this package tells apart.
const (
	codeReadOnly         = "25006"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeLockNotAvailable = "55P03"
	codeTooMany          = "53300"
	codeStarting         = "57P03"
	codeDiskFull         = "53100"
	codeNoRight          = "42501"
	codeNoSchema         = "3F000"
	codeNoTable          = "42P01"
	codeNoFunction       = "42883"
	codeNoDatabase       = "3D000"
	codeNoParameter      = "42704"
)

// classify returns the class of a statement that failed with err.
func classify(err error) class {
	var said *pgconn.PgError
	var early *unsentError
	never := errors.As(err, &early)
	if errors.As(err, &said) {
		switch code := said.Code; {
		case code == codeSerialization, code == codeDeadlock, code == codeLockNotAvailable:
			return undone
		case code == codeReadOnly, code == codeStarting, code == codeTooMany:
			return unsent // a read-only transaction has written no data
		case strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "08"):
			// The session ended, perhaps after the commit. Poolers report a server that
			// has gone by 08.
			if never {
				return unsent
			}
			return unknown
		case fatal(said) && !never:
			return unknown
		}
		return refused
	}
	switch {
	case errors.Is(err, errAgain):
		return undone
	case errors.Is(err, puddle.ErrClosedPool):
		return refused
	case never:
		return unsent
	}
	return unknown
}

// fatal reports whether the server ended the session.
func fatal(e *pgconn.PgError) bool {
	return e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC"
}

func said(err error, codes ...string) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

func readOnly(err error) bool { return said(err, codeReadOnly) }
func diskFull(err error) bool { return said(err, codeDiskFull) }

// redact removes from err all that a server or pgx may have quoted: keys and data, which are
// in the details of a server's error, and the names of users and databases.
func redact(err error) error {
	var pg *pgconn.PgError
	var network *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case said(err, codeNoSchema, codeNoTable, codeNoFunction):
		return &missingSchemaError{redactServer(err)}
	case errors.As(err, &pg):
		return redactServer(err)
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &network):
		return network
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case tlsFailed(err):
		return errTLS
	case otherRole(err):
		return errRole
	case errors.Is(err, puddle.ErrClosedPool):
		return puddle.ErrClosedPool
	case errors.Is(err, errAgain):
		return errAgain
	}
	return errBroken
}

var (
	errBroken = errors.New("the connection broke, or the other side does not speak PostgreSQL's protocol")
	errTLS    = errors.New("TLS fails")
	errRole   = errors.New("no reachable server has the role of target_session_attrs")
)

// redactServer keeps the SQLSTATE of a server's error. It keeps the text only if the text
// can name no more than tables and functions of the schema.
func redactServer(err error) error {
	var pg *pgconn.PgError
	errors.As(err, &pg)
	text := "the server's message is left out, as it may quote names or data"
	switch {
	case pg.Code == codeNoRight && strings.Contains(pg.Message, " for database "):
		text = "permission denied for the database"
	case pg.Code == codeNoRight, pg.Code == codeReadOnly, pg.Code == codeNoSchema, pg.Code == codeNoTable, pg.Code == codeDiskFull,
		strings.HasPrefix(pg.Code, "40"), strings.HasPrefix(pg.Code, "55"), strings.HasPrefix(pg.Code, "57"):
		text = pg.Message
	}
	return &pgconn.PgError{Severity: pg.Severity, SeverityUnlocalized: pg.SeverityUnlocalized, Code: pg.Code, Message: text}
}

// A missingSchemaError is the failure of a statement that needs a missing part of the schema.
type missingSchemaError struct{ err error }

func (e *missingSchemaError) Error() string { return e.err.Error() }
func (e *missingSchemaError) Unwrap() error { return e.err }

func (e *missingSchemaError) reason(schema string) string {
	return "the schema " + schema + " is missing or incomplete; run pgstore.Migrate or the command taskstore migrate once, or open postgres://…?migrate=true"
}

func tlsFailed(err error) bool {
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &verification) ||
		strings.Contains(err.Error(), "server refused TLS connection")
}

// otherRole reports whether pgx rejected a server because of target_session_attrs.
func otherRole(err error) bool { return strings.Contains(err.Error(), "ValidateConnect failed") }
