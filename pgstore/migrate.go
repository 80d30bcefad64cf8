package pgstore

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schemaFiles bring a schema from one version to the next, the first file to version 1.
// Each is written for the schema "taskstore".
var schemaFiles = []string{schema1}

//go:embed schema/001.sql
var schema1 string

// schemaVersion is the version that this package needs. Migrations leave the functions of
// earlier versions unchanged, so that processes of two versions can share a schema during
// an upgrade.
var schemaVersion = len(schemaFiles)

// Migrate creates the schema in the database that rawURL names, or updates it, in one
// transaction. A schema that is up to date is left unchanged. A schema that a newer version
// of this package made gives a [*taskstore.ConnectError].
//
// The user of rawURL owns the objects that Migrate creates. The user needs the right CREATE
// on the schema if the schema exists, and on the database otherwise. A Backend can use
// another user with fewer rights, see the documentation. Migrate runs the files in the
// directory schema.
func Migrate(ctx context.Context, rawURL string, opts *Options) error {
	b, err := connect(ctx, rawURL, opts)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.migrate(ctx)
}

// migrate is Migrate on a connection that was probed.
func (b *Backend) migrate(ctx context.Context) error {
	lent, err := b.pool.Acquire(ctx)
	if err != nil {
		return b.unusable(reasonOf(err), redact(err))
	}
	defer lent.Release()
	name := pgx.Identifier{b.opts.Schema}.Sanitize()
	err = pgx.BeginTxFunc(ctx, lent, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		conn := tx.Conn().PgConn()
		run := func(sql string) error {
			_, err := conn.Exec(ctx, sql).ReadAll() // several commands
			return err
		}
		// The lock admits one migration at a time. It ends with the transaction.
		if err := run("SELECT pg_advisory_xact_lock(7308895159506)"); err != nil {
			return err
		}
		var there, complete bool
		err := tx.QueryRow(ctx, "SELECT count(*) > 0, coalesce(bool_or(c.relname IS NOT NULL), false) FROM pg_namespace n"+
			" LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'version' WHERE n.nspname = $1",
			pgx.QueryExecModeExec, b.opts.Schema).Scan(&there, &complete)
		if err != nil {
			return err
		}
		if !there {
			if err := run("CREATE SCHEMA " + name); err != nil {
				return err
			}
		}
		version := 0
		if complete {
			if err := tx.QueryRow(ctx, "SELECT number FROM "+name+".version", pgx.QueryExecModeExec).Scan(&version); err != nil {
				return err
			}
		}
		if version > schemaVersion {
			return newerSchema(version)
		}
		for _, file := range schemaFiles[version:] {
			if err := run(strings.ReplaceAll(file, `"`+defaultSchema+`"`, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if newer, ok := err.(newerSchema); ok {
		return b.unusable(newer.Error(), nil)
	}
	if err != nil {
		return b.unusable("the schema cannot be made: "+reasonOf(err), redact(err))
	}
	return nil
}

// A newerSchema is the version of a schema that is newer than this package.
type newerSchema int

func (v newerSchema) Error() string {
	return fmt.Sprintf("its schema is version %d, newer than this program's %d; update the program", int(v), schemaVersion)
}

// checkSchema returns nil if the schema exists and has this version.
func (b *Backend) checkSchema(ctx context.Context) error {
	name := pgx.Identifier{b.opts.Schema}.Sanitize()
	r, err := b.exec(ctx, statement{text: "SELECT number FROM " + name + ".version"}, nil)
	missing := missingSchemaError{}
	switch {
	case said(err, codeNoSchema, codeNoTable), err == nil && len(r) == 0:
		return b.unusable(missing.reason(b.opts.Schema), redact(err))
	case said(err, codeNoRight):
		return b.unusable("its user may not use the schema "+b.opts.Schema+"; grant the rights that the documentation lists", redact(err))
	case err != nil:
		return b.unusable(reasonOf(err), redact(err))
	}
	switch version := int(decodeInt(r[0][0])); {
	case version > schemaVersion:
		return b.unusable(newerSchema(version).Error(), nil)
	case version < schemaVersion:
		return b.unusable(fmt.Sprintf("its schema is version %d, this program needs %d; run pgstore.Migrate or the command taskstore migrate", version, schemaVersion), nil)
	}
	return nil
}
