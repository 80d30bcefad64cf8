//go:build integration

package pgstore

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

const secret = "s3cret&word"

// refuses checks that Open gives the reason why it cannot use a store, without secrets.
func refuses(t *testing.T, url string, opts *Options, reason string) *taskstore.ConnectError {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b, err := Open(ctx, url, opts)
	assert.Nil(t, b)
	var refusal *taskstore.ConnectError
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "PostgreSQL", refusal.Store)
	assert.Contains(t, refusal.Reason, reason)
	for _, format := range []string{"%v", "%+v", "%#v"} {
		text := fmt.Sprintf(format, err)
		for _, name := range []string{secret, "s3cret", pgtest.Guarded, "no_such"} {
			assert.NotContains(t, text, name)
		}
	}
	return refusal
}

func TestOpenNamesTheFault(t *testing.T) {
	s := pgtest.Start(t)
	root := admin(t, s.URL())
	exec(t, root, "", "CREATE USER "+pgtest.Guarded+" PASSWORD 'right'")
	t.Run("WrongPassword", func(t *testing.T) {
		refuses(t, pgtest.URL(pgtest.Guarded+":"+secret, s.Addr()), nil, "refuses the user name or password")
	})
	t.Run("UnknownUser", func(t *testing.T) {
		refuses(t, pgtest.URL("no_such_user", s.Addr()), nil, "refuses the user name")
	})
	t.Run("UnknownDatabase", func(t *testing.T) {
		refuses(t, strings.Replace(s.URL(), "/postgres?", "/no_such_database?", 1), nil, "no database of that name")
	})
	t.Run("NoSchema", func(t *testing.T) {
		refuses(t, s.URL(), nil, "run pgstore.Migrate")
		assert.Zero(t, query[int](t, root, "", "SELECT count(*) FROM pg_namespace WHERE nspname = 'taskstore'"), "Open makes no schema")
	})
	t.Run("NewerSchema", func(t *testing.T) {
		schema := newSchema(t, s.URL())
		exec(t, root, schema, "UPDATE $S.version SET number = number + 1")
		refuses(t, s.URL(), &Options{Schema: schema}, "update the program")
		err := Migrate(ctx, s.URL(), &Options{Schema: schema})
		assert.ErrorContains(t, err, "update the program")
		assert.Equal(t, schemaVersion+1, query[int](t, root, schema, "SELECT number FROM $S.version"))
	})
	t.Run("OlderSchema", func(t *testing.T) {
		schema := newSchema(t, s.URL())
		exec(t, root, schema, "UPDATE $S.version SET number = number - 1")
		refuses(t, s.URL(), &Options{Schema: schema}, "run pgstore.Migrate")
	})
	t.Run("NoRightToTheSchema", func(t *testing.T) {
		schema := newSchema(t, s.URL())
		refuses(t, pgtest.URL(pgtest.Guarded+":right", s.Addr()), &Options{Schema: schema}, "may not use the schema")
	})
	t.Run("NoRightToMakeASchema", func(t *testing.T) {
		err := Migrate(ctx, pgtest.URL(pgtest.Guarded+":right", s.Addr()), nil)
		assert.ErrorContains(t, err, "the user lacks a right")
		assert.Zero(t, query[int](t, root, "", "SELECT count(*) FROM pg_namespace WHERE nspname = 'taskstore'"))
	})
	t.Run("UnknownParameter", func(t *testing.T) {
		refuses(t, s.URL("no_such_s3cret=1"), nil, "has no parameter")
	})
	t.Run("NoConnectionLeft", func(t *testing.T) {
		exec(t, root, "", "ALTER USER "+pgtest.Guarded+" CONNECTION LIMIT 0")
		defer exec(t, root, "", "ALTER USER "+pgtest.Guarded+" CONNECTION LIMIT -1")
		refuses(t, pgtest.URL(pgtest.Guarded+":right", s.Addr()), nil, "no connection left")
	})
	t.Run("Isolation", func(t *testing.T) {
		exec(t, root, "", "ALTER USER "+pgtest.Guarded+" SET default_transaction_isolation = serializable")
		refuses(t, pgtest.URL(pgtest.Guarded+":right", s.Addr()), nil, "set it to read committed")
	})
	t.Run("ReadOnly", func(t *testing.T) {
		exec(t, root, "", "ALTER USER "+pgtest.Guarded+" SET default_transaction_read_only = on")
		refuses(t, pgtest.URL(pgtest.Guarded+":right", s.Addr()), nil, "read-only")
	})
}

func TestOpenRefusesAStandby(t *testing.T) {
	s := pgtest.Start(t)
	schema := newSchema(t, s.URL())
	standby := s.StartStandby(t)
	refuses(t, standby.URL(), &Options{Schema: schema}, "standby")
	refuses(t, standby.URL("target_session_attrs=read-write"), &Options{Schema: schema}, "target_session_attrs")
	b, err := New(admin(t, standby.URL()), &Options{Schema: schema})
	require.NoError(t, err)
	findings, err := b.Check(ctx)
	require.NoError(t, err)
	require.Len(t, findings, 1)
	assert.Contains(t, findings[0].Setting, "standby")
	assert.True(t, findings[0].Unusable)
	assert.ErrorContains(t, b.Ping(ctx), "standby")
}

func TestOpenReportsAnUnreachableServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := l.Addr().String()
	require.NoError(t, l.Close())
	refuses(t, pgtest.URL(pgtest.Guarded+":"+secret, gone), nil, "cannot be reached")
	refuses(t, "postgres://"+pgtest.Guarded+":s3cret@no-such-host.invalid/no_such_database", nil, "")
}

// Open names a server of any other protocol as such.
func TestOpenSaysThatItIsNoPostgreSQL(t *testing.T) {
	for name, answer := range map[string]string{
		"HTTP": "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "Redis": "-ERR unknown command\r\n", "Nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 100))
					_, _ = c.Write([]byte(answer))
					_ = c.Close()
				}
			}()
			refuses(t, pgtest.URL(pgtest.Guarded+":"+secret, l.Addr().String()), nil, "it does not speak PostgreSQL's protocol")
		})
	}
}

// A first-time user opens a store by its URL and is told the way.
func TestStoreURLCanMigrate(t *testing.T) {
	s := pgtest.Start(t)
	_, err := taskstore.Open(ctx, s.URL())
	require.ErrorContains(t, err, "migrate=true")
	b, err := taskstore.Open(ctx, s.URL("migrate=true"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.(*Backend).Close() })
	_, err = b.Put(ctx, key, hello)
	require.NoError(t, err)
	again, err := taskstore.Open(ctx, strings.Replace(s.URL(), "postgres://", "postgresql://", 1))
	require.NoError(t, err, "and once is enough")
	t.Cleanup(func() { _ = again.(*Backend).Close() })
	_, err = again.Get(ctx, key)
	assert.NoError(t, err)
	other, err := taskstore.Open(ctx, s.URL("migrate=true", "schema=Other%20%22one%22"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.(*Backend).Close() })
	_, err = other.Get(ctx, key)
	assert.ErrorIs(t, err, taskstore.ErrNotFound, "it is another schema")
}

// Two programs that start at once migrate once.
func TestMigrateMayRunAtOnce(t *testing.T) {
	s := pgtest.Shared(t)
	name := newSchema(t, s.URL()) + "x"
	errs := make(chan error)
	for range 4 {
		go func() { errs <- Migrate(ctx, s.URL(), &Options{Schema: name}) }()
	}
	for range 4 {
		assert.NoError(t, <-errs)
	}
}

// Without its schema a backend on a caller's pool names the remedy, at the first call.
func TestNewSaysThatTheSchemaIsMissing(t *testing.T) {
	s := pgtest.Shared(t)
	b, err := New(admin(t, s.URL()), &Options{Schema: "no_such_schema"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	var refusal *taskstore.ConnectError
	_, err = b.Put(ctx, key, hello)
	require.ErrorAs(t, err, &refusal)
	assert.Contains(t, refusal.Reason, "run pgstore.Migrate")
	for _, err := range b.Watch(ctx, key) {
		require.ErrorAs(t, err, &refusal)
	}
	_, err = b.Check(ctx)
	require.ErrorAs(t, err, &refusal)
}

// An error of the server carries keys and data in its details. The backend redacts them.
func TestErrorsHoldNoData(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	exec(t, root, schema, `CREATE FUNCTION $S.break_it() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE 'about %', encode(NEW.data, 'escape') USING DETAIL = encode(NEW.task, 'escape'), HINT = encode(NEW.data, 'escape'); END $$`)
	exec(t, root, schema, "CREATE TRIGGER t BEFORE INSERT ON $S.record FOR EACH ROW EXECUTE FUNCTION $S.break_it()")
	b := open(t, s.URL(), Options{Schema: schema})
	_, err := b.Put(ctx, taskstore.Key{Owner: "s3cret-owner", Task: "s3cret-task"}, taskstore.Value{Data: []byte("s3cret-data")})
	require.Error(t, err)
	var said *pgconn.PgError
	require.ErrorAs(t, err, &said)
	assert.Equal(t, "P0001", said.Code)
	for _, text := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", said)} {
		assert.NotContains(t, text, "s3cret")
	}
	assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown, "the server undid it")
}
