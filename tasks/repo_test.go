package tasks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A replica with a wrong clock must not decide about a task.
func TestOnlyTheBackendTellsTheTime(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	clock := regexp.MustCompile(`time\.(Now|Since|Until)\(`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.False(t, clock.Match(data), "%s asks the process for the time", name)
	}
}

// The package knows no protocol's SDK and brings no dependency along.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		host, _, _ := strings.Cut(path, "/")
		own := path == "github.com/taskstore/taskstore" || path == "github.com/google/uuid"
		assert.True(t, own || !strings.Contains(host, "."), "tasks imports %s", path)
		assert.NotEqual(t, "testing", path)
	}
}
