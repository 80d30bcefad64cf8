package pgstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/taskstore/taskstore"
)

// Check looks for settings with which the backend cannot keep its promises: durability that
// is switched off, a standby, a version that is too old, missing rights, an isolation level
// that the functions do not work with, autovacuum that is off, a clock that differs from the
// process's, a pooler that swallows notifications, a schema of another version. A sound
// server has no findings. Check is meant for the start of a program, and cheap enough to
// repeat now and then.
//
// Check also creates, updates, reads, lists and deletes one record under an owner of its
// own. If the removal fails, the record expires within a minute.
//
// A server that cannot be reached, a failed call on the record and a ctx that is done give
// an error, not a Finding. The findings until then are returned with the error.
func (b *Backend) Check(ctx context.Context) ([]taskstore.Finding, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	c := &inspection{b: b}
	for _, look := range []func(context.Context) error{c.settings, c.rights, c.schema, c.clock} {
		if err := look(ctx); err != nil || c.hopeless {
			return c.findings, err
		}
	}
	if b.opts.Notify {
		if err := c.notifications(ctx); err != nil {
			return c.findings, err
		}
	}
	return c.findings, b.tryVerbs(ctx)
}

// An inspection is one run of Check.
type inspection struct {
	b        *Backend
	findings []taskstore.Finding
	hopeless bool // a finding makes calls impossible
}

func (c *inspection) add(setting, breaks, remedy string) {
	c.findings = append(c.findings, taskstore.Finding{Setting: setting, Breaks: breaks, Remedy: remedy})
}

// fatal adds a finding that makes calls impossible.
func (c *inspection) fatal(setting, breaks, remedy string) {
	c.findings = append(c.findings, taskstore.Finding{Setting: setting, Breaks: breaks, Remedy: remedy, Unusable: true})
	c.hopeless = true
}

const settingsSQL = `SELECT current_setting('server_version_num')::bigint, pg_is_in_recovery(), current_setting('fsync'),
	current_setting('full_page_writes'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
	current_setting('autovacuum'), current_setting('transaction_isolation'), current_setting('transaction_read_only')`

// settings checks the settings that every user may read.
func (c *inspection) settings(ctx context.Context) error {
	r, err := c.b.ask(ctx, statement{text: settingsSQL}, nil)
	if err != nil {
		return c.b.failure("check", err)
	}
	says := make([]string, len(r[0]))
	for i, column := range r[0] {
		says[i] = string(column)
	}
	version, standby := decodeInt(r[0][0]), decodeBool(r[0][1])
	fsync, pages, commit, replicas, vacuum, level, readOnly := says[2], says[3], says[4], says[5], says[6], says[7], says[8]
	if version < leastVersion {
		c.add(fmt.Sprintf("the version is %d", version/10000), "taskstore is untested on it", "upgrade to PostgreSQL 14 or later")
	}
	if standby {
		c.fatal("the server is a standby", "it takes no writes", "name its primary, or several hosts with target_session_attrs=read-write")
		return nil
	}
	if fsync == "off" {
		c.add("fsync is off", "the crash of a machine can lose or damage every record", "set it to on")
	}
	if pages == "off" {
		c.add("full_page_writes is off", "the crash of a machine can damage records, unless the file system writes pages whole", "set it to on")
	}
	switch {
	case commit == "off":
		c.add("synchronous_commit is off", "a crash of the server loses the latest acknowledged writes", "set it to on for the user or the database")
	case commit == "local" && replicas != "":
		c.add("synchronous_commit is local, and synchronous_standby_names is set", "a failover loses acknowledged writes", "set it to on for the user or the database")
	}
	if vacuum == "off" {
		c.add("autovacuum is off", "the tables grow with every write until a VACUUM", "set it to on")
	}
	if level != isolation {
		c.add("default_transaction_isolation is "+level, "concurrent writes of a record are rolled back and retried until they fail", "set it to read committed for the user or the database")
	}
	if readOnly == "on" {
		c.fatal("default_transaction_read_only is on", "writes fail", "set it to off for the user or the database")
	}
	return nil
}

// tableRights are the rights on tables that the user of a backend needs. The user also needs
// USAGE on the schema and EXECUTE on its functions, which all users have unless it was
// revoked.
var tableRights = map[string]string{
	"version": "SELECT",
	"scope":   "SELECT, INSERT, UPDATE, DELETE",
	"record":  "SELECT, INSERT, UPDATE, DELETE",
	"change":  "SELECT, INSERT, UPDATE, DELETE",
	"epoch":   "SELECT, INSERT",
}

// rights checks for missing rights, but for the right to list owners, which is for
// operators.
func (c *inspection) rights(ctx context.Context) error {
	schema := pgx.Identifier{c.b.opts.Schema}.Sanitize()
	r, err := c.b.ask(ctx, statement{"SELECT has_schema_privilege($1, 'USAGE')", []uint32{textOID}}, arguments{[]byte(c.b.opts.Schema)})
	switch {
	case err != nil:
		return c.b.failure("check", err)
	case !decodeBool(r[0][0]):
		c.lacks("USAGE ON SCHEMA " + schema)
		return nil
	}
	for _, table := range slices.Sorted(maps.Keys(tableRights)) {
		for right := range strings.SplitSeq(tableRights[table], ", ") {
			name := schema + "." + table
			r, err := c.b.ask(ctx, statement{"SELECT has_table_privilege($1, $2)", []uint32{textOID, textOID}}, arguments{[]byte(name), []byte(right)})
			if err != nil {
				return c.b.failure("check", err)
			}
			if !decodeBool(r[0][0]) {
				c.lacks(right + " ON " + name)
			}
		}
	}
	r, err = c.b.ask(ctx, statement{"SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace" +
		" WHERE n.nspname = $1 AND p.proname <> 'owners' AND NOT has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1", []uint32{textOID}}, arguments{[]byte(c.b.opts.Schema)})
	if err != nil {
		return c.b.failure("check", err)
	}
	for _, column := range r {
		c.lacks("EXECUTE ON FUNCTION " + schema + "." + string(column[0]))
	}
	return nil
}

// schema checks the version of the schema. A newer schema is not fatal: processes of an
// earlier version continue to work with it.
func (c *inspection) schema(ctx context.Context) error {
	r, err := c.b.ask(ctx, statement{text: "SELECT number FROM " + pgx.Identifier{c.b.opts.Schema}.Sanitize() + ".version"}, nil)
	if err != nil {
		return c.b.failure("check", err)
	}
	if len(r) == 0 {
		return nil // the next calls report it
	}
	switch version := int(decodeInt(r[0][0])); {
	case version > schemaVersion:
		c.add(fmt.Sprintf("the schema is version %d, newer than this program's %d", version, schemaVersion), "this program cannot start again", "update the program")
	case version < schemaVersion:
		c.fatal(fmt.Sprintf("the schema is version %d, this program needs %d", version, schemaVersion), "calls fail", "run pgstore.Migrate, or the command taskstore migrate")
	}
	return nil
}

func (c *inspection) lacks(right string) {
	c.fatal("the user lacks the right "+right, "calls that need it fail", "GRANT "+right+" TO the user")
}

// maxClockDifference is the difference between the server's clock and the process's above
// which Check reports a Finding. Records use the server's clock; a greater difference is
// most often a wrong clock.
const maxClockDifference = time.Minute

func (c *inspection) clock(ctx context.Context) error {
	from := time.Now()
	server, err := c.b.clock.read(ctx, c.b)
	if err != nil {
		return c.b.failure("check", err)
	}
	took := time.Since(from)
	if ahead := server.Sub(from.Add(took / 2)).Abs(); ahead-took > maxClockDifference {
		c.add(fmt.Sprintf("its clock differs by %v from this process's", ahead.Round(time.Millisecond)),
			"records expire by the server's clock: too early or too late if that one is wrong", "keep the clocks in sync, with NTP")
	}
	return nil
}

// notificationTime is how long a notification may take.
const notificationTime = 2 * time.Second

// notifications sends a notification and waits for it.
func (c *inspection) notifications(ctx context.Context) error {
	lent, err := c.b.pool.Acquire(ctx)
	if err != nil {
		return c.b.failure("check", redact(err))
	}
	conn := lent.Hijack()
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := c.b.feed.listen(ctx, conn); err != nil {
		return c.b.failure("check", redact(err))
	}
	if _, err := c.b.ask(ctx, c.b.functions.notify, arguments{c.b.channelTable()}); err != nil {
		return c.b.failure("check", err)
	}
	wait, cancel := context.WithTimeout(ctx, notificationTime)
	defer cancel()
	err = conn.PgConn().WaitForNotification(wait)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case wait.Err() == nil && !pgconn.Timeout(err):
		return c.b.failure("check", redact(err))
	}
	c.add("notifications do not arrive", "hints about writes of other processes wait for the next poll", "connect to the server directly, or leave Options.Notify off: a pooler in transaction mode drops notifications")
	return nil
}

// tryVerbs makes one call of each kind.
func (b *Backend) tryVerbs(ctx context.Context) error {
	key := taskstore.Key{Owner: "taskstore check " + rand.Text(), Task: "check"}
	now, err := b.Now(ctx)
	if err != nil {
		return err
	}
	v := taskstore.Value{Data: []byte("check"), ExpiresAt: now.Add(time.Minute)}
	if _, err := b.PutIfVersion(ctx, key, v, 0); err != nil {
		return err
	}
	if _, err := b.PutIfVersion(ctx, key, v, 1); err != nil {
		return err
	}
	if _, err := b.Get(ctx, key); err != nil {
		return err
	}
	if _, _, err := b.ListPage(ctx, key, "", 1); err != nil {
		return err
	}
	_, err = b.Delete(ctx, key)
	return err
}
