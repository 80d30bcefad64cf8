package sqlitestore_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of four processes that write without pause the slowest makes at least half of its fair
// share. SQLite's own waiting gives it hardly any.
func TestWritersOfSeveralProcessesGetTheirShare(t *testing.T) {
	creates := 600
	if large {
		creates = 40_000
	}
	path := filepath.Join(t.TempDir(), "tasks.db")
	processes := make([]*process, 4)
	for i := range processes {
		processes[i] = startProcess(t, "create", path)
	}
	for _, p := range processes {
		p.begin(t)
	}
	wait(t, "all write", func() bool {
		return !slices.ContainsFunc(processes, func(p *process) bool { return len(p.acknowledged()) == 0 })
	})
	before, start := acknowledged(processes), time.Now()
	count := func(all [][]time.Duration) (n int) {
		for i := range all {
			n += len(all[i]) - len(before[i])
		}
		return n
	}
	var after [][]time.Duration
	wait(t, "enough is created", func() bool { after = acknowledged(processes); return count(after) >= creates })
	window := time.Since(start).Round(time.Millisecond)
	total, slowest := count(after), 0
	for i := range processes {
		took := slices.Clone(after[i][len(before[i]):])
		n := len(took)
		if i == 0 || n < slowest {
			slowest = n
		}
		slices.Sort(took)
		if n > 0 {
			t.Logf("process %d: %d creates in %v, p50 %v, p99 %v, longest %v", i, n, window, took[n/2], took[n*99/100], took[n-1])
		}
	}
	assert.GreaterOrEqual(t, slowest, total/len(processes)/2, "of %d creates by %d processes", total, len(processes))
	run := meanRun(t, path)
	t.Logf("%.2f creates of one process in a row", run)
	assert.Less(t, run, 1.2, "creates of one process in a row")
}

func acknowledged(processes []*process) (all [][]time.Duration) {
	for _, p := range processes {
		all = append(all, p.acknowledged())
	}
	return all
}

// meanRun returns how many records follow each other that one owner's process created, on
// average over the latest.
func meanRun(tb testing.TB, path string) float64 {
	records, runs, last := 0, 0, ""
	rows, err := look(tb, path).Query("SELECT owner FROM change ORDER BY id")
	require.NoError(tb, err)
	defer rows.Close()
	for rows.Next() {
		var owner string
		require.NoError(tb, rows.Scan(&owner))
		records++
		if owner != last {
			runs++
		}
		last = owner
	}
	require.NoError(tb, rows.Err())
	return float64(records) / float64(runs)
}

// look opens the file at path behind a backend's back.
func look(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file://"+filepath.ToSlash(path)+"?_pragma=busy_timeout(20000)")
	require.NoError(tb, err)
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// wait waits until cond holds.
func wait(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for start := time.Now(); !cond(); time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			tb.Fatalf("it did not happen: %s", what)
		}
	}
}
