package sqlitestore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// foundIn returns the findings of Check but those about the disk, which is the machine's.
func foundIn(t *testing.T, b *sqlitestore.Backend) (findings []taskstore.Finding) {
	t.Helper()
	all, err := b.Check(t.Context())
	require.NoError(t, err)
	for _, f := range all {
		assert.NotEmpty(t, f.Breaks)
		assert.NotEmpty(t, f.Remedy)
		if !strings.Contains(f.Setting, "on its disk") {
			findings = append(findings, f)
		}
	}
	return findings
}

func TestCheckFindsSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	assert.Empty(t, foundIn(t, open(t, path, nil)))
	require.NoError(t, os.Chmod(path, 0o644))
	findings := foundIn(t, open(t, path, &sqlitestore.Options{SynchronousNormal: true}))
	if runtime.GOOS != "windows" {
		require.Len(t, findings, 2)
		assert.Contains(t, findings[0].Setting, "mode 0644")
	}
	assert.Contains(t, findings[len(findings)-1].Setting, "synchronous is NORMAL")
	for _, f := range findings {
		assert.False(t, f.Unusable)
	}
}

// A damaged file cannot be used, and the findings about it quote none of its content.
func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	b := open(t, path, nil)
	for i := range 300 {
		_, err := b.Put(t.Context(), taskstore.Key{Owner: aKey.Owner, Task: fmt.Sprint(aKey.Task, i)}, taskstore.Value{Data: []byte("s3cr3t")})
		require.NoError(t, err)
	}
	require.NoError(t, b.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	copy(content[len(content)-4096:], bytes.Repeat([]byte("s3cr3t"), 682)) // a page of records, the last one
	require.NoError(t, os.WriteFile(path, content, 0o600))
	findings := foundIn(t, open(t, path, nil))
	require.Len(t, findings, 1)
	assert.Contains(t, findings[0].Setting, "damage")
	assert.True(t, findings[0].Unusable)
	assert.NotContains(t, findings[0].String(), "s3cr3t")
}
