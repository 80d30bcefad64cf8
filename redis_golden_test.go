package taskstore

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The scripts are composed of fragments. The golden files show each as the server gets
// it from a backend that limits no records, and have one line break more at the end;
// make check has them parsed.
func TestScriptsAreThoseOfTheGoldenFiles(t *testing.T) {
	const folder = "testdata/lua"
	var want []string
	for _, s := range newScripts(0, "PUBLISH", "", false).all() {
		name := filepath.Join(folder, s.Name+".lua")
		want = append(want, name)
		if *update {
			require.NoError(t, os.MkdirAll(folder, 0o755))
			require.NoError(t, os.WriteFile(name, []byte(s.Source+"\n"), 0o644))
		}
		golden, err := os.ReadFile(name)
		require.NoError(t, err, "go test -run %s -update . writes it", t.Name())
		assert.Equal(t, string(golden), s.Source+"\n", "go test -run %s -update . writes %s anew", t.Name(), name)
	}
	there, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	assert.ElementsMatch(t, want, there, "a golden file for each script")
}
