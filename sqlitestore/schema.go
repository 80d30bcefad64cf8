package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
)

// The tables. Each write has a number, id in change, one more than the write before it.
//
// record has a row for each record; an expired record stays until it is reclaimed. seq is
// the number of the write that created the record, so it gives the order of creation and is
// not reused. No index contains version or data, the columns that every write changes.
//
// scope has a row for each collection that has records, and n counts them, expired ones
// included. It saves the owner's bytes in each record, and the counting in each create.
//
// change has the latest writes. Processes read it to learn of each other's writes.
//
// Names are blobs because they may hold any bytes.
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

// migrations lead from each schema to the next. A file's user_version is the number of
// migrations that were applied to it.
var migrations = []string{schemaV1}

// applicationID marks the files of this package: "task".
const applicationID = 0x7461736b

// A layout describes a file: its application ID, its schema's version and its tables.
type layout struct{ application, version, tables int }

// query is implemented by connections and transactions.
type query interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func layoutOf(ctx context.Context, q query) (l layout, err error) {
	err = q.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&l.application, &l.version, &l.tables)
	return l, err
}

// refusal returns the reason to refuse a file, empty if the file can be used.
func (l layout) refusal() string {
	switch {
	case l.application == 0 && l.version == 0 && l.tables == 0:
		return "" // new
	case l.application != applicationID:
		return "it is another program's database: choose another path"
	case l.version > len(migrations):
		return fmt.Sprintf("a newer version of this library wrote it, with schema %d; this one supports schema %d: update this program", l.version, len(migrations))
	}
	return ""
}

// migrate brings the file to the latest schema, in one transaction. It fails on a file that
// cannot be written, even if the schema is the latest one.
func migrate(ctx context.Context, c *sql.Conn) (reason string, err error) {
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return "", err
	}
	defer func() {
		if reason != "" || err != nil {
			_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	l, err := layoutOf(ctx, c) // again, because another process may have migrated the file
	if err != nil || l.refusal() != "" {
		return l.refusal(), err
	}
	if l.version == len(migrations) {
		// SQLite opens a read-only file, and begins a transaction on it, without an error.
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
