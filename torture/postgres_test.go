//go:build integration

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/pgstore"
)

// A pgPlace is a PostgreSQL server, and the address at which clients reach it.
type pgPlace struct {
	server *pgtest.Server
	addr   string
}

func pgDirect(t *testing.T) pgPlace {
	s := pgtest.Start(t)
	return pgPlace{s, s.Addr()}
}

func pgBouncer(t *testing.T) pgPlace {
	s := pgtest.Start(t)
	return pgPlace{s, s.StartBouncer(t).Addr()}
}

// newPgCampaign prepares processes with a backend each, behind one proxy.
func newPgCampaign(t *testing.T, class Class, l level, p pgPlace) *campaign {
	c := &campaign{class: class, faults: rates(t, l.Faults), way: ways[0], proxy: faultproxy.NewPostgres(), pictures: os.TempDir()}
	t.Cleanup(c.proxy.Close)
	c.faults.Operation = pgOperation
	c.faults.Match = func(args []string) bool { return pgWrites(args) && (c.faults.Delay == 0 || !pgCreates(args)) }
	c.exact = c.faults.DropReply+c.faults.CutBefore+c.faults.Delay == 0
	addr, err := c.proxy.Addr(p.addr)
	require.NoError(t, err)
	url := pgtest.URL("postgres", addr)
	opts := pgstore.Options{Schema: "s" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	require.NoError(t, pgstore.Migrate(ctx, url, &opts))
	for range c.way.processes {
		b, err := pgstore.Open(ctx, url, &opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		c.backends = append(c.backends, b)
	}
	return c
}

// pgWrites reports whether a command calls a function that writes.
func pgWrites(args []string) bool {
	return strings.Contains(args[0], ".put(") || strings.Contains(args[0], ".write(") || strings.Contains(args[0], ".delete(")
}

// pgOperation returns the id of the operation of a put or of a batch.
func pgOperation(args []string) string {
	if (strings.Contains(args[0], ".put(") || strings.Contains(args[0], ".write(")) && len(args) > 9 {
		return args[9]
	}
	return ""
}

// pgCreates reports whether a command creates a record.
func pgCreates(args []string) bool {
	return strings.Contains(args[0], ".put(") && len(args) > 6 && args[6] == strings.Repeat("\x00", 8)
}

// Lost answers, on connections to the server and behind a pooler in transaction mode.
func TestPostgresLinearizable(t *testing.T) {
	for name, place := range map[string]func(*testing.T) pgPlace{"Direct": pgDirect, "PgBouncer": pgBouncer} {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			for _, p := range promised {
				for _, l := range p.levels {
					t.Run(p.class.Name+l.name, func(t *testing.T) {
						newPgCampaign(t, p.class, l, at).keepsThePromise(t, either(*historiesFlag, 3, 200))
					})
				}
			}
		})
	}
}

// Server processes that are terminated, and servers that crash and recover, on top of
// lost answers.
func TestPostgresLinearizableThroughDisasters(t *testing.T) {
	for _, e := range []struct {
		name   string
		place  func(*testing.T) pgPlace
		n      int
		happen func(t *testing.T, p pgPlace)
	}{
		{"Terminated", pgDirect, 3, terminateBackends},
		{"TerminatedPgBouncer", pgBouncer, 3, terminateBackends},
		{"Restarted", pgDirect, 1, func(t *testing.T, p pgPlace) { p.server.Restart(t) }},
		{"RestartedPgBouncer", pgBouncer, 1, func(t *testing.T, p pgPlace) { p.server.Restart(t) }},
	} {
		t.Run(e.name, func(t *testing.T) {
			at := e.place(t)
			for _, p := range promised {
				if p.class.Name == HotKeysWithPut.Name {
					continue // a Put that is sent again is applied again
				}
				t.Run(p.class.Name, func(t *testing.T) {
					c := newPgCampaign(t, p.class, lost5, at)
					c.disturb = func(seed uint64) (string, func()) {
						return fmt.Sprint("owner-", seed), func() {
							time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
							e.happen(t, at)
						}
					}
					c.keepsThePromise(t, either(*historiesFlag, e.n, 200))
				})
			}
		})
	}
}

// terminateBackends ends the server's processes for clients, a few times.
func terminateBackends(t *testing.T, p pgPlace) {
	conn, err := pgconn.Connect(ctx, p.server.URL())
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for range 3 {
		_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()").ReadAll()
		require.NoError(t, err)
		time.Sleep(10 * time.Millisecond)
	}
}

// The control: a copy that does not say that it is one, as a client makes that resends by
// itself, breaks histories.
func TestPostgresForgottenResendsBreak(t *testing.T) {
	at := pgDirect(t)
	for _, f := range []struct {
		class           Class
		name, arguments string
	}{
		{HotKeys, "put", `p_owner bytea, p_collection bytea, p_task bytea, p_data bytea, p_expires bigint,
			p_expected bigint, p_limit bigint, p_watch uuid, p_op bytea, p_since bigint, p_notify boolean, OUT o_status int, OUT o_number bigint`},
		{Batches, "write", `p_owner bytea, p_collections bytea[], p_tasks bytea[], p_datas bytea[], p_expires bigint[],
			p_expected bigint[], p_limits bigint[], p_watches uuid[], p_op bytea, p_since bigint, p_notify boolean,
			OUT o_status int, OUT o_index int, OUT o_number bigint`},
	} {
		t.Run(f.class.Name, func(t *testing.T) {
			c := newPgCampaign(t, f.class, lost10, at)
			conn, err := pgconn.Connect(ctx, at.server.URL())
			require.NoError(t, err)
			defer conn.Close(ctx)
			function := `"` + latestSchema(t, conn) + `".` + f.name
			_, err = conn.Exec(ctx, "ALTER FUNCTION "+function+" RENAME TO "+f.name+"_as_is; CREATE FUNCTION "+function+"("+f.arguments+
				") LANGUAGE sql AS $$ SELECT * FROM "+function+"_as_is($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $11) $$").ReadAll()
			require.NoError(t, err)
			c.breaks(t, 10)
		})
	}
}

// latestSchema returns the name of the schema of the latest store.
func latestSchema(t *testing.T, conn *pgconn.PgConn) string {
	r, err := conn.Exec(ctx, "SELECT nspname FROM pg_namespace JOIN pg_proc ON pronamespace = pg_namespace.oid WHERE proname = 'sweep' ORDER BY pg_namespace.oid DESC").ReadAll()
	require.NoError(t, err)
	return string(r[0].Rows[0][0])
}
