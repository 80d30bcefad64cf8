//go:build integration

package pgstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/pgtest"
)

// fill makes 100,000 records: of 10 owners with 5,000 and 500 with 100. Of each hundred one
// is past, and one will be in an hour.
const fill = `DELETE FROM $S.record; DELETE FROM $S.scope;
INSERT INTO $S.scope (owner, collection, n, last_seq) SELECT convert_to('owner-' || i, 'UTF8'), '', CASE WHEN i <= 10 THEN 5000 ELSE 100 END, 5000 FROM generate_series(1, 510) i;
INSERT INTO $S.record (scope, seq, version, expires, task, ops, data)
	SELECT s.id, j, 1, CASE j % 100 WHEN 0 THEN 1 WHEN 50 THEN $S.now_us() / 1000 + 3600000 END, convert_to('task-' || j, 'UTF8'), '12345678', convert_to(repeat('x', 100), 'UTF8')
	FROM $S.scope s, generate_series(1, s.n) j;
INSERT INTO $S.change (tx, watch, version, task) SELECT j::text::xid8, gen_random_uuid(), 1, 'x' FROM generate_series(1, 1000) j;`

// calls is each function, as the backend and each other call them.
var calls = map[string]string{
	"get":             "SELECT * FROM $S.get('owner-1', '', 'task-7')",
	"list":            "SELECT * FROM $S.list('owner-1', '', '', 0, 50, 2050)",
	"list a prefix":   "SELECT * FROM $S.list('owner-1', '', 'task-12', 5, 50, 2050)",
	"list all":        "SELECT * FROM $S.list('owner-20', '', '', 0, NULL, NULL)",
	"create":          "SELECT * FROM $S.put('owner-1', '', convert_to(gen_random_uuid()::text, 'UTF8'), 'x', NULL, 0, 1000000, gen_random_uuid(), '12345678', NULL, false)",
	"create at limit": "SELECT * FROM $S.put('owner-1', '', convert_to(gen_random_uuid()::text, 'UTF8'), 'x', NULL, 0, 100, gen_random_uuid(), '12345678', NULL, false)",
	"create again":    "SELECT * FROM $S.put('owner-1', '', convert_to(gen_random_uuid()::text, 'UTF8'), 'x', NULL, 0, NULL, gen_random_uuid(), '12345678', 1, false)",
	"update":          "SELECT * FROM $S.put('owner-1', '', 'task-7', 'x', NULL, -1, NULL, gen_random_uuid(), '12345678', NULL, false)",
	"update again":    "SELECT * FROM $S.put('owner-1', '', 'task-7', 'x', NULL, 1, NULL, gen_random_uuid(), '12345678', 9e18::bigint, false)",
	"write": "SELECT * FROM $S.write('owner-1', ARRAY['', '', 'other']::bytea[], ARRAY['task-8', convert_to(gen_random_uuid()::text, 'UTF8'), convert_to(gen_random_uuid()::text, 'UTF8')], ARRAY['x', 'x', 'x']::bytea[]," +
		" ARRAY[1, NULL, NULL]::bigint[], ARRAY[-1, 0, 0], ARRAY[NULL, 1000000, NULL]::bigint[], ARRAY[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()], '12345678', NULL, false)",
	"delete": "SELECT * FROM $S.delete('owner-1', '', (SELECT task FROM $S.list('owner-1', '', '', 0, 1, 1) l(seq, task, v, e, d) LIMIT 1), gen_random_uuid(), NULL, false)",
	"owners": "SELECT * FROM $S.owners('owner-3', 20)",
	"poll":   "SELECT * FROM $S.poll(pg_current_snapshot()::text, ARRAY[gen_random_uuid()])",
	"sweep":  "SELECT * FROM $S.sweep(20, '5')",
}

// indexes are those without which a call would look at more than it has to.
var indexes = map[string]string{
	"get": "record_pkey", "list": "record_seq", "list a prefix": "record_seq", "list all": "record_seq", "update": "record_pkey",
	"create at limit": "record_scope_expires", "delete": "record_pkey", "owners": "scope_owner_collection_key", "poll": "change_tx", "sweep": "record_expires",
}

// No statement reads a table from end to end, whether or not the server has statistics, and
// in the plans that sessions keep too.
func TestNoStatementScans(t *testing.T) {
	s := pgtest.Shared(t)
	schema := newSchema(t, s.URL())
	exec(t, admin(t, s.URL()), schema, "ALTER TABLE $S.record SET (autovacuum_enabled = false)")
	var plans []string
	config, err := pgx.ParseConfig(s.URL())
	require.NoError(t, err)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { plans = append(plans, n.Message) }
	conn, err := pgx.ConnectConfig(ctx, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(ctx) })
	run := func(sql string) {
		t.Helper()
		_, err := conn.PgConn().Exec(ctx, in(schema, sql)).ReadAll()
		require.NoError(t, err)
	}
	run(`LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log`)
	for _, statistics := range []bool{false, true} {
		for _, call := range calls { // at first while the tables are empty
			run(call)
		}
		if statistics {
			run("ANALYZE $S.scope; ANALYZE $S.record; ANALYZE $S.change")
		} else {
			run("SET auto_explain.log_min_duration = -1")
			run(fill)
			run("SET auto_explain.log_min_duration = 0")
		}
		for name, call := range calls {
			t.Run(fmt.Sprint(name, ", statistics ", statistics), func(t *testing.T) {
				for range 7 { // from the sixth on a plan may be a generic one
					plans = nil
					run(call)
					all := strings.Join(plans, "\n")
					// The table of the epoch has one row.
					all = strings.ReplaceAll(all, "Seq Scan on epoch", "")
					if !assert.NotContains(t, all, "Seq Scan") || !assert.Regexp(t, " (using|on) (scope|record|change)_", all, "the plans are told") {
						return
					}
					if !assert.Regexp(t, " (using|on) "+indexes[name], all) {
						return
					}
					if (strings.HasPrefix(name, "list") || name == "owners") && !assert.NotContains(t, all, "Sort", "the index has the order") {
						return
					}
				}
			})
		}
	}
}
