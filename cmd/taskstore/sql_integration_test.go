//go:build integration

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/tasks"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// storeOn is a store of tasks on the backend that the URL names.
func storeOn(t *testing.T, url string) *tasks.Store {
	t.Helper()
	b, err := taskstore.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = taskstore.Close(b) })
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	return s
}

// Every command works on SQLite, those that ask all owners too.
func TestTheCommandWorksOnSQLite(t *testing.T) {
	t.Parallel()
	works(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
}

// works runs every command on the store that url names, with two owners.
func works(t *testing.T, url string) {
	t.Helper()
	s := storeOn(t, url)
	create := func(owner string) string {
		task, _, err := s.Create(t.Context(), owner, tasks.CreateParams{Request: []byte(`{"name":"tool"}`)})
		require.NoError(t, err)
		return task.ID
	}
	one, two, three := create("n:alice"), create("n:alice"), create("n:bob")
	for _, c := range []struct {
		args string
		says []string
	}{
		{"ls --all", []string{one, two, three}},
		{"ls --owner n:bob", []string{three}},
		{"owners", []string{"n:alice", "n:bob"}},
		{"get " + three, []string{"n:bob", "working"}},
		{"cancel " + three, []string{"cancelled: task " + three}},
		{"watch " + three + " --owner n:bob", []string{"cancelled"}},
		{"fail " + two, []string{two}},
		{"delete " + two + " --yes", []string{two}},
		{"purge --owner n:alice --yes", []string{"removed         1"}},
		{"top --all --interval 10s --timeout 2s", []string{"1 tasks", "tool"}},
		{"bench --duration 2s --clients 2", nil},
		{"doctor", []string{"no faults found"}},
	} {
		r := runURL(t, url, strings.Fields(c.args)...)
		if strings.HasPrefix(c.args, "top") { // which its time ends
			assert.Contains(t, r.err, "reached its --timeout")
			r.code = exitOK
		}
		assert.Equal(t, exitOK, r.code, "%s: %s%s", c.args, r.out, r.err)
		for _, say := range c.says {
			assert.Contains(t, r.out, say, c.args)
		}
	}
	for range 5 {
		_ = runURL(t, url, "bench", "--duration", "50ms", "--clients", "16") // for which it is short
	}
	r := runURL(t, url, "owners", "-o", "jsonl")
	assert.Equal(t, 1, strings.Count(r.out, "\n"), "bench leaves no owner: %s", r.out)
}

// publishedOn makes the schema by the command, and the user that the document recommends. It
// returns the user's URL, and a function that runs SQL as the superuser.
func publishedOn(t *testing.T, s *pgtest.Server) (url string, admin func(sql string)) {
	t.Helper()
	r := runURL(t, s.URL(), "ls", "--all")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.err, "taskstore migrate")
	for range 2 {
		r := runURL(t, s.URL(), "migrate")
		require.Equal(t, exitOK, r.code, r.err)
		assert.Equal(t, "the schema is up to date\n", r.out)
	}
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	admin = func(sql string) {
		t.Helper()
		_, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
		require.NoError(t, err, sql)
	}
	page, err := os.ReadFile("../../docs/postgres.md")
	require.NoError(t, err)
	_, grants, _ := strings.Cut(string(page), "```sql\n")
	grants, _, ok := strings.Cut(grants, "```")
	require.True(t, ok)
	admin(grants)
	return pgtest.URL("app", s.Addr()), admin
}

// Every command works on PostgreSQL under the rights that the document recommends, those that
// ask all owners too. If one is missing, doctor names it, and others name the object it is on.
func TestTheCommandWorksOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=on")
	url, admin := publishedOn(t, server)
	works(t, url)
	for _, c := range []struct {
		right, on, command, says string
		level                    level
	}{
		{"SELECT", "taskstore.record", "owners", "lists ON record", unusable},
		{"SELECT", "taskstore.scope", "ls --all", "lists ON scope", unusable},
		{"INSERT", "taskstore.change", "bench --duration 100ms", "lists ON change", unusable},
		{"EXECUTE", "FUNCTION taskstore.get", "get " + uuid.NewString() + " --owner n:alice", "EXECUTE ON FUNCTION get", unusable},
		{"EXECUTE", "FUNCTION taskstore.owners", "get " + uuid.NewString(), "may not list owners: grant EXECUTE ON FUNCTION owners", notKnown},
	} {
		name := c.right + " ON " + c.on
		from := "app"
		if c.right == "EXECUTE" { // which everybody has
			from = "PUBLIC"
		}
		admin("REVOKE " + name + " FROM " + from)
		code, findings := doctorSays(t, url)
		assert.Equal(t, map[level]int{unusable: exitUnusable, notKnown: exitOK}[c.level], code, name)
		require.Len(t, findings, 1, name)
		assert.Equal(t, c.level, findings[0].Level)
		if c.level == unusable {
			assert.Contains(t, strings.ReplaceAll(findings[0].Remedy, `"`, ""), "GRANT "+name, name)
		} else {
			assert.Contains(t, findings[0].Setting, c.says)
		}
		r := runURL(t, url, strings.Fields(c.command)...)
		assert.Equal(t, exitFailed, r.code, name)
		assert.Contains(t, r.err, c.says, name)
		admin("GRANT " + name + " TO " + from)
	}
	code, findings := doctorSays(t, url)
	assert.Zero(t, code)
	assert.Empty(t, findings)
}

// On a PostgreSQL that cannot be used doctor exits with 2 and gives the reason.
func TestDoctorFindsAPostgreSQLThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=on")
	url, admin := publishedOn(t, server)
	standby := server.StartStandby(t)
	admin("CREATE USER " + pgtest.Guarded + " PASSWORD 'right'")
	for name, c := range map[string]struct{ url, says string }{
		"Standby":       {standby.URL(), "standby"},
		"WrongPassword": {pgtest.URL(pgtest.Guarded+":s3cret", server.Addr()), "refuses the user name or password"},
		"NoRight":       {pgtest.URL(pgtest.Guarded+":right", server.Addr()), "may not use the schema"},
		"NoDatabase":    {strings.Replace(url, "/postgres?", "/s3cret?", 1), "no database of that name"},
	} {
		t.Run(name, func(t *testing.T) {
			code, findings := doctorSays(t, c.url)
			assert.Equal(t, exitUnusable, code)
			finds(t, unusable, c.says, findings)
			assert.NotContains(t, findings[0].Setting, "s3cret")
		})
	}
	t.Run("NewerSchema", func(t *testing.T) {
		admin("UPDATE taskstore.version SET number = number + 1")
		code, findings := doctorSays(t, url)
		assert.Equal(t, exitUnusable, code)
		finds(t, unusable, "update the program", findings)
	})
}
