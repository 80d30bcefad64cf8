package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
)

// The tables. A write has a number, id in change, one more than the write before it.
//
// record has a row for each record, expired ones until they are reclaimed. seq is the
// number of the write that created it, so it is the order of creation and never used
// again; what a record changes with every write, version and data, is in no index.
//
// scope has a row for each collection that has records, and n counts them, expired ones
// too. It spares a record the owner's bytes and a create the counting.
//
// change has the latest writes, by which processes learn of each other's.
//
// Names are blobs, for they may hold any bytes.
const schemaV1 = `
CREATE TABLE scope (
	id INTEGER PRIMARY KEY,
	owner BLOB NOT NULL,
	collection BLOB NOT NULL,
	n INTEGER NOT NULL,
	UNIQUE (owner, collection)
) STRICT;
CREATE TABLE record (
	seq INTEGER PRIMARY KEY,
	scope INTEGER NOT NULL,
	task BLOB NOT NULL,
	version INTEGER NOT NULL CHECK (version > 0),
	expires INTEGER NOT NULL CHECK (expires >= 0), -- Unix ms, 0: never
	data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_key ON record (scope, task);
CREATE INDEX record_order ON record (scope); -- and by seq, as every index
CREATE INDEX record_expiry ON record (expires) WHERE expires > 0;
CREATE INDEX record_scope_expiry ON record (scope, expires) WHERE expires > 0;
CREATE TABLE change (
	id INTEGER PRIMARY KEY,
	owner BLOB NOT NULL,
	collection BLOB NOT NULL,
	task BLOB NOT NULL,
	version INTEGER NOT NULL -- 0: the record is gone
) STRICT;
INSERT INTO change VALUES (1, x'', x'', x'', 0);
`

// migrations lead from each schema to the next. A file's user_version is how many of them
// were made.
var migrations = []string{schemaV1}

// applicationID marks a file as one of this package: "task".
const applicationID = 0x7461736b

// A layout is what a file says of itself.
type layout struct{ application, version, tables int }

// query is what a connection and a transaction have in common.
type query interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func layoutOf(ctx context.Context, q query) (l layout, err error) {
	err = q.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&l.application, &l.version, &l.tables)
	return l, err
}

// refusal says why a file cannot be used, if it cannot.
func (l layout) refusal() string {
	switch {
	case l.application == 0 && l.version == 0 && l.tables == 0:
		return "" // new
	case l.application != applicationID:
		return "it is the database of another program: choose another path"
	case l.version > len(migrations):
		return fmt.Sprintf("a newer version of this library wrote it, with schema %d where this one knows %d: update this program", l.version, len(migrations))
	}
	return ""
}

// migrate brings the file to the latest schema, in one transaction. A file that cannot be
// written fails it even if there is nothing to do.
func migrate(ctx context.Context, c *sql.Conn) (reason string, err error) {
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return "", err
	}
	defer func() {
		if reason != "" || err != nil {
			_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	l, err := layoutOf(ctx, c) // again, for another process may have been faster
	if err != nil || l.refusal() != "" {
		return l.refusal(), err
	}
	if l.version == len(migrations) {
		// SQLite opens for reading what it may not write, and begins too.
		_, err := c.ExecContext(ctx, "DELETE FROM change WHERE id < 0; ROLLBACK")
		return "", err
	}
	for _, step := range migrations[l.version:] {
		if _, err := c.ExecContext(ctx, step); err != nil {
			return "", err
		}
	}
	_, err = c.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", applicationID, len(migrations)))
	return "", err
}
