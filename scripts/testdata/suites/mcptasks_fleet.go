//go:build integration && unix

// Test file of package mcptasks while `make suites` runs: the replicas that its tests kill
// keep their tasks in SQLite or PostgreSQL.

package mcptasks_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/taskstore/taskstore/internal/pgtest"
	_ "github.com/taskstore/taskstore/pgstore"
	_ "github.com/taskstore/taskstore/sqlitestore"
)

func init() {
	fleetStore = func(tb testing.TB) replicaConfig {
		if os.Getenv("TASKSTORE_SUITE") == "sqlite" {
			return replicaConfig{URL: "sqlite:" + filepath.Join(tb.TempDir(), "tasks.db")}
		}
		return replicaConfig{URL: pgtest.Start(tb).URL("migrate=true")}
	}
}
