//go:build integration

package pgstore

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/pgtest"
)

// found returns the settings that Check finds, one a line.
func found(t *testing.T, b *Backend) string {
	t.Helper()
	findings, err := b.Check(ctx)
	require.NoError(t, err)
	var lines []string
	for _, f := range findings {
		assert.NotEmpty(t, f.Breaks)
		assert.NotEmpty(t, f.Remedy)
		lines = append(lines, f.Setting)
	}
	return strings.Join(lines, "\n")
}

func TestCheckReportsAHealthyServerWithoutFindings(t *testing.T) {
	s := pgtest.Start(t, "fsync=on")
	assert.Empty(t, found(t, open(t, s.URL(), Options{Notify: true})))
}

func TestCheckFindsSettings(t *testing.T) {
	s := pgtest.Start(t, "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
	schema := newSchema(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	all := found(t, b)
	for _, setting := range []string{"fsync is off", "full_page_writes is off", "synchronous_commit is off", "autovacuum is off"} {
		assert.Contains(t, all, setting)
	}
	// Check also sees the settings of a caller's pool.
	config := admin(t, s.URL()).Config()
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	b, err := New(adminOf(t, config), &Options{Schema: schema})
	require.NoError(t, err)
	assert.Contains(t, found(t, b), "default_transaction_isolation is repeatable read")
	config = admin(t, s.URL()).Config()
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	b, err = New(adminOf(t, config), &Options{Schema: schema})
	require.NoError(t, err)
	findings, err := b.Check(ctx)
	require.NoError(t, err)
	last := findings[len(findings)-1]
	assert.Contains(t, last.Setting, "default_transaction_read_only is on")
	assert.True(t, last.Unusable)
}

func TestCheckFindsAPoolerThatSwallowsNotifications(t *testing.T) {
	s := pgtest.Start(t, "fsync=on")
	bouncer := s.StartBouncer(t)
	schema := newSchema(t, s.URL())
	assert.Empty(t, found(t, open(t, bouncer.URL(), Options{Schema: schema})), "without Notify all is well")
	assert.Equal(t, "notifications do not arrive", found(t, open(t, bouncer.URL(), Options{Schema: schema, Notify: true})))
}

func TestCheckFindsAWrongClock(t *testing.T) {
	s := pgtest.Start(t, "fsync=on")
	schema := newSchema(t, s.URL())
	b := open(t, s.URL(), Options{Schema: schema})
	exec(t, admin(t, s.URL()), schema, `CREATE OR REPLACE FUNCTION $S.now_us() RETURNS bigint LANGUAGE sql VOLATILE
		AS 'SELECT (extract(epoch FROM clock_timestamp() + interval ''2 min'') * 1000000)::bigint'`)
	assert.Contains(t, found(t, b), "its clock differs by 2m0")
}

// A process of an earlier version goes on, one of a later version cannot.
func TestCheckFindsASchemaOfAnotherVersion(t *testing.T) {
	s := pgtest.Start(t, "fsync=on")
	root := admin(t, s.URL())
	b := open(t, s.URL(), Options{})
	for step, unusable := range map[string]bool{"+ 1": false, "- 1": true} {
		exec(t, root, b.opts.Schema, "UPDATE $S.version SET number = number "+step)
		findings, err := b.Check(ctx)
		require.NoError(t, err)
		require.Len(t, findings, 1)
		assert.Contains(t, findings[0].Setting, "the schema is version")
		assert.Equal(t, unusable, findings[0].Unusable, step)
		exec(t, root, b.opts.Schema, "UPDATE $S.version SET number = $1", schemaVersion)
	}
}

// The rights that the documentation lists are enough for all that a backend does, and it
// needs each of them.
func TestLeastRights(t *testing.T) {
	s := pgtest.Start(t, "fsync=on")
	schema := newSchema(t, s.URL())
	root := admin(t, s.URL())
	page, err := os.ReadFile("../docs/postgres.md")
	require.NoError(t, err)
	_, grants, _ := strings.Cut(string(page), "```sql\n")
	grants, _, ok := strings.Cut(grants, "```")
	require.True(t, ok)
	for grant := range strings.Lines(strings.NewReplacer("taskstore.", "$S.", " taskstore ", " $S ", " app", " least").Replace(grants)) {
		exec(t, root, schema, grant)
	}
	url := pgtest.URL("least", s.Addr())
	use := func(t *testing.T) error {
		b, err := Open(ctx, url, &Options{Schema: schema, Notify: true})
		if err != nil {
			return err
		}
		defer b.Close()
		if err := b.tryVerbs(ctx); err != nil {
			return err
		}
		if err := b.PutBatch(ctx, []taskstore.Write{{Key: key, Value: taskstore.Value{ExpiresAt: time.Now().Add(5 * time.Millisecond)}}}); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
		if _, err := b.CleanupExpired(ctx); err != nil {
			return err
		}
		for _, err := range b.Watch(ctx, key) {
			return err
		}
		return nil
	}
	require.NoError(t, use(t))
	for table, rights := range tableRights {
		for right := range strings.SplitSeq(rights, ", ") {
			t.Run(right+" "+table, func(t *testing.T) {
				exec(t, root, schema, "REVOKE "+right+" ON $S."+table+" FROM least")
				defer exec(t, root, schema, "GRANT "+right+" ON $S."+table+" TO least")
				if table == "epoch" && right == "INSERT" { // it is needed after a crash
					exec(t, root, schema, "DELETE FROM $S.epoch")
				}
				if err := use(t); assert.Error(t, err) {
					assert.NotContains(t, err.Error(), "owner")
				}
				b, err := New(admin(t, url), &Options{Schema: schema})
				require.NoError(t, err)
				findings, err := b.Check(ctx)
				require.NoError(t, err)
				require.Len(t, findings, 1)
				assert.Contains(t, findings[0].Setting, "the user lacks the right "+right+" ON ")
				assert.True(t, findings[0].Unusable)
			})
		}
	}
	// EXECUTE is everybody's unless it is revoked. Listing owners is for operators.
	exec(t, root, schema, "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA $S FROM PUBLIC")
	b, err := New(admin(t, url), &Options{Schema: schema})
	require.NoError(t, err)
	findings, err := b.Check(ctx)
	require.NoError(t, err)
	assert.Len(t, findings, query[int](t, root, schema, "SELECT count(*) FROM pg_proc WHERE pronamespace = $1::regnamespace", in(schema, "$S"))-1)
	for _, f := range findings {
		assert.True(t, f.Unusable)
		assert.NotContains(t, f.Setting, ".owners")
	}
}
