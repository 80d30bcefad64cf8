package sqlitestore

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fill makes n records of n/100 owners, half of which expire.
const fillSQL = `
WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x + 1 < %[1]d / 100)
	INSERT INTO scope SELECT x + 1, CAST('owner-' || x AS BLOB), x'', 100 FROM i;
WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x + 1 < %[1]d)
	INSERT INTO record SELECT x + 10, x / 100 + 1, CAST('task-' || x AS BLOB), 1, (x %% 2) * 4000000000000, zeroblob(200) FROM i;
WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x + 1 < 4096)
	INSERT INTO change SELECT %[1]d + 10 + x, x'00', x'', x'00', 1 FROM i;`

// No statement looks at more rows than it has to: each finds them by an index, with and
// without statistics.
func TestNoStatementScans(t *testing.T) {
	b := openFile(t, filepath.Join(t.TempDir(), "tasks.db"))
	_, err := b.w.conn.ExecContext(t.Context(), fmt.Sprintf(fillSQL, 100_000))
	require.NoError(t, err)
	all := slices.Concat(txStatements, []string{getSQL, listSQL, matchSQL, ownersSQL, lookSQL, readSQL})
	for _, analyzed := range []bool{false, true} {
		if analyzed { // the plans must not need statistics, nor change by them
			_, err := b.w.conn.ExecContext(t.Context(), "ANALYZE")
			require.NoError(t, err)
		}
		steps, byTask := 0, false
		for _, statement := range all {
			rows, err := b.w.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, make([]any, strings.Count(statement, "?"))...)
			require.NoError(t, err, statement)
			for rows.Next() {
				var id, parent, unused int
				var step string
				require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
				steps++
				byTask = byTask || statement == matchSQL && strings.Contains(step, "record_key (scope=? AND task>? AND task<?)")
				if statement == ownersSQL { // which looks at each owner that it has come to
					step = strings.TrimPrefix(step, "SCAN walk")
				}
				assert.NotContains(t, step, "SCAN", statement)
				if statement != matchSQL { // it orders the records that it has found
					assert.NotContains(t, step, "TEMP B-TREE", statement)
				}
			}
			require.NoError(t, rows.Err())
		}
		assert.Greater(t, steps, 15, "plans were seen")
		assert.True(t, byTask, "a prefix is looked up among tasks")
	}
}
