package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestOptionsAreCompleted(t *testing.T) {
	o, err := (*Options)(nil).complete()
	require.NoError(t, err)
	assert.Equal(t, Options{Schema: "taskstore", MaxDataBytes: maxData, PollInterval: defaultPollInterval}, o)
	for _, bad := range []Options{{Schema: strings.Repeat("x", 64)}, {Schema: "a\x00b"}, {Schema: "pg_x"}, {Schema: "it's"}, {Schema: "a$$b"}, {Schema: "a\xffb"}, {PollInterval: 1}, {PollInterval: -1}} {
		_, err := bad.complete()
		assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
	}
	_, err = New(nil, nil)
	assert.ErrorIs(t, err, taskstore.ErrInvalidArgument)
}

// A URL that cannot be used is refused without a word of it: a password may stand anywhere.
func TestURLErrorsHoldNoPassword(t *testing.T) {
	for _, url := range []string{
		"postgres://user:s3cret@host:port/db", "postgres://user:s3cret%zz@host/db", "postgres://u:p@host/db?sslmode=s3cret",
		"postgres://u:p@host/db?pool_max_conns=s3cret", "host=h password=s3cret", "mysql://u:s3cret@host", "postgres://u:s3cret@host/db?migrate=true",
		"postgres://u:s3cret@host/db?schema=x",
	} {
		_, err := Open(context.Background(), url, nil)
		require.ErrorIs(t, err, taskstore.ErrInvalidArgument, url)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "s3cret")
	}
	_, err := taskstore.Open(context.Background(), "postgres://u:s3cret@host/db?migrate=perhaps")
	require.ErrorIs(t, err, taskstore.ErrInvalidArgument)
	assert.NotContains(t, err.Error(), "s3cret")
}

func TestBackendPrintsNoSecret(t *testing.T) {
	pool, err := pgxpool.New(context.Background(), "postgres://user:s3cret@127.0.0.1:1/db")
	require.NoError(t, err)
	defer pool.Close()
	b, err := New(pool, nil)
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, "pgstore.Backend", fmt.Sprintf(format, b))
	}
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	_, err = b.Get(context.Background(), taskstore.Key{Owner: "o", Task: "t"})
	assert.ErrorIs(t, err, taskstore.ErrClosed)
}

// A backend refuses a batch that exceeds a message to the server before it sends it.
func TestABatchThatIsTooLongIsNotSent(t *testing.T) {
	pool, err := pgxpool.New(context.Background(), "postgres://127.0.0.1:1/db")
	require.NoError(t, err)
	defer pool.Close()
	b, err := New(pool, nil)
	require.NoError(t, err)
	defer b.Close()
	data := make([]byte, maxData)
	var writes []taskstore.Write
	for i := range 4 {
		writes = append(writes, taskstore.Write{Key: taskstore.Key{Owner: "o", Task: fmt.Sprint(i)}, Value: taskstore.Value{Data: data}})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	assert.ErrorIs(t, b.PutBatch(ctx, writes), taskstore.ErrCapacityExceeded)
}

func TestErrorsAreClassified(t *testing.T) {
	pg := func(code, severity string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, SeverityUnlocalized: severity})
	}
	for _, c := range []struct {
		err  error
		want class
	}{
		{pg("40001", "ERROR"), undone}, {pg("40P01", "ERROR"), undone}, {pg("55P03", "ERROR"), undone},
		{pg("23505", "ERROR"), refused}, {pg("42501", "ERROR"), refused}, {pg("57014", "ERROR"), refused},
		{pg("25006", "ERROR"), unsent}, {pg("57P03", "FATAL"), unsent}, {pg("53300", "FATAL"), unsent},
		{pg("57P01", "FATAL"), unknown}, {pg("57P02", "FATAL"), unknown}, {pg("08006", "ERROR"), unknown}, {pg("08P01", "FATAL"), unknown}, {pg("XX000", "PANIC"), unknown},
		{&unsentError{pg("57P01", "FATAL")}, unsent}, {&unsentError{pg("28P01", "FATAL")}, refused}, {&unsentError{io.EOF}, unsent},
		{io.ErrUnexpectedEOF, unknown}, {context.DeadlineExceeded, unknown}, {errors.New("whatever"), unknown},
	} {
		assert.Equal(t, c.want, classify(c.err), "%v", c.err)
	}
}

func TestErrorsAreRedacted(t *testing.T) {
	const secret = "s3cret"
	for _, code := range []string{"23505", "28P01", "3D000", "53300", "P0001", "22021", "40001", "42501"} {
		err := redact(&pgconn.PgError{Code: code, Message: map[bool]string{true: secret, false: "fixed"}[code != "40001" && code != "42501"],
			Detail: secret, Hint: secret, Where: secret, ConstraintName: secret, TableName: secret, InternalQuery: secret})
		assert.NotContains(t, fmt.Sprintf("%+v %#v", err, err), secret, code)
		var said *pgconn.PgError
		require.ErrorAs(t, err, &said)
		assert.Equal(t, code, said.Code)
	}
	for _, err := range []error{errors.New(secret), fmt.Errorf("%s: %w", secret, io.EOF), fmt.Errorf("%s: %w", secret, context.Canceled)} {
		assert.NotContains(t, redact(err).Error(), secret)
	}
	assert.ErrorIs(t, redact(fmt.Errorf("x: %w", context.Canceled)), context.Canceled)
}

func TestArraysAreThoseOfPgx(t *testing.T) {
	m := pgtype.NewMap()
	want, err := m.Encode(byteasOID, pgx.BinaryFormatCode, [][]byte{[]byte("a"), {}, nil}, nil)
	require.NoError(t, err)
	assert.Equal(t, want, encodeArray(byteaOID, [][]byte{[]byte("a"), {}, nil}))
	a, z := int64(7), int64(-1)
	want, err = m.Encode(intsOID, pgx.BinaryFormatCode, []*int64{&a, nil, &z}, nil)
	require.NoError(t, err)
	assert.Equal(t, want, encodeArray(intOID, [][]byte{encodeInt(7), nil, encodeInt(-1)}))
}

// A schema of another name differs in that name only, which may hold quotes.
func TestSchemaNamesAreQuoted(t *testing.T) {
	f := newFunctions(`a"b`)
	assert.Contains(t, f.get.text, `"a""b".get(`)
	assert.NotContains(t, strings.ReplaceAll(schema1, `"taskstore"`, ""), "taskstore.")
}
