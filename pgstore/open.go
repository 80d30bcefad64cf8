package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/taskstore/taskstore"
)

func init() {
	taskstore.Register("postgres", openURL)
	taskstore.Register("postgresql", openURL)
}

// openURL is called by taskstore.Open. It takes two parameters of the URL for itself:
// migrate=true runs Migrate first, schema names the schema.
func openURL(ctx context.Context, rawURL string) (taskstore.StorageBackend, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	opts := Options{Schema: query.Get("schema")}
	migrate, err := strconv.ParseBool(query.Get("migrate"))
	if err != nil && query.Has("migrate") {
		return nil, &taskstore.ArgumentError{Argument: "parameter migrate", Reason: "it must be true or false"}
	}
	query.Del("schema")
	query.Del("migrate")
	u.RawQuery = query.Encode()
	if migrate {
		if err := Migrate(ctx, u.String(), &opts); err != nil {
			return nil, err
		}
	}
	b, err := Open(ctx, u.String(), &opts)
	if err != nil {
		return nil, err // b would make a non-nil interface
	}
	return b, nil
}

func parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errURL
	}
	return u, nil
}

// errURL leaves the URL out, because a password may stand anywhere in it.
var errURL = &taskstore.ArgumentError{Argument: "PostgreSQL URL", Reason: "it must be like postgres://user:password@host:5432/database?sslmode=require, " +
	"with characters that have a meaning in URLs percent-encoded in names and passwords, and with parameters of pgx"}

// Open connects to the database that rawURL names, makes sure that it can be used, and
// returns a backend that owns the connections: Close closes them. Open does not change the
// schema; [Migrate] does.
//
//	postgres://user:password@host:5432/database?sslmode=verify-full
//	postgres://host1,host2/database?target_session_attrs=read-write
//
// Parameters and environment variables are those of pgx and libpq, with pool_max_conns and
// the like of pgxpool.
//
// An invalid URL gives an error that matches [taskstore.ErrInvalidArgument]. A server that
// cannot be used gives a [*taskstore.ConnectError] with the reason: the server does not
// answer, refuses the password, is a standby, is too old, is not PostgreSQL, lacks the
// schema or has a newer one. Of the URL both errors contain only the address.
func Open(ctx context.Context, rawURL string, opts *Options) (*Backend, error) {
	b, err := connect(ctx, rawURL, opts)
	if err != nil {
		return nil, err
	}
	if err := b.checkSchema(ctx); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// connectTimeout limits one attempt to connect, unless the URL has a limit.
const connectTimeout = 10 * time.Second

// connect returns a backend on a server that can be used. It does not check the schema.
func connect(ctx context.Context, rawURL string, opts *Options) (*Backend, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"migrate", "schema"} {
		if u.Query().Has(name) {
			return nil, &taskstore.ArgumentError{Argument: "PostgreSQL URL", Reason: "the parameter " + name + " is for taskstore.Open; call Migrate, or set Options.Schema"}
		}
	}
	config, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, errURL
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, errURL
	}
	b, err := New(pool, opts)
	if err != nil {
		pool.Close()
		return nil, err
	}
	b.owned = true
	if err := b.probe(ctx); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// probe asks the server whether it can be used.
func (b *Backend) probe(ctx context.Context) error {
	r, err := b.exec(ctx, statement{text: "SELECT current_setting('server_version_num')::bigint, pg_is_in_recovery()," +
		" current_setting('transaction_read_only') = 'on', current_setting('transaction_isolation')::text"}, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return b.unusable("no answer in time", ctx.Err())
	case err != nil:
		return b.unusable(reasonOf(err), redact(err))
	case decodeInt(r[0][0]) < leastVersion:
		return b.unusable(fmt.Sprintf("it is version %d, too old for the schema; upgrade to PostgreSQL 14 or later", decodeInt(r[0][0])/10000), nil)
	case decodeBool(r[0][1]):
		return b.unusable(errStandby.Error(), nil)
	case decodeBool(r[0][2]):
		return b.unusable("its transactions are read-only by default; set default_transaction_read_only to off for the user or the database", nil)
	case string(r[0][3]) != isolation:
		return b.unusable("its default_transaction_isolation is "+string(r[0][3])+"; set it to read committed for the user or the database", nil)
	}
	return nil
}

const (
	leastVersion = 140000
	isolation    = "read committed"
)

// reasonOf returns the reason for which a server could not be reached.
func reasonOf(err error) string {
	var pg *pgconn.PgError
	var dial *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28"):
		return "it refuses the user name or password, or has no pg_hba.conf entry for them"
	case said(err, codeNoDatabase):
		return "it has no database of that name"
	case said(err, codeNoParameter):
		return "it has no parameter of that name; check the parameters of the URL"
	case said(err, codeNoRight):
		return "the user lacks a right"
	case said(err, codeTooMany):
		return "it has no connection left; raise max_connections, or lower pool_max_conns"
	case said(err, codeStarting):
		return "it is starting, or shutting down"
	case errors.As(err, &pg):
		return "it refuses (SQLSTATE " + pg.Code + ")"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "no answer in time"
	case tlsFailed(err):
		return "TLS fails"
	case otherRole(err):
		return "it is a standby, or its role is not that of target_session_attrs; name the primary"
	case errors.As(err, &dns):
		return "its name is unknown"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "it cannot be reached"
	}
	return "it does not speak PostgreSQL's protocol; check the host and port"
}

// address returns the address of a configuration, without user and password.
func address(c *pgx.ConnConfig) string {
	addresses := []string{hostPort(c.Host, c.Port)}
	for _, f := range c.Fallbacks {
		if a := hostPort(f.Host, f.Port); a != addresses[len(addresses)-1] {
			addresses = append(addresses, a)
		}
	}
	return strings.Join(addresses, ",")
}

func hostPort(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
