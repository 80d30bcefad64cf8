package taskstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules that the repository keeps about itself.

// A program that imports taskstore links the standard library, go-redis and what
// that needs, and no test code.
func TestUsersLinkNoTestCode(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		allowed := path == "github.com/taskstore/taskstore" ||
			slices.ContainsFunc([]string{
				"github.com/taskstore/taskstore/internal/redislink", "github.com/taskstore/taskstore/internal/redisfeed", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash", "go.uber.org/atomic", "golang.org/x/sys",
			}, func(p string) bool { return strings.HasPrefix(path, p) })
		assert.True(t, allowed, "a user's program links %s", path)
	}
	std, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	assert.NotContains(t, strings.Fields(string(std)), "testing")
}

// The suite is for everybody's tests and brings nothing along.
func TestSuiteNeedsOnlyTheStandardLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./backendtest").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(path, "/")
		assert.True(t, path == "github.com/taskstore/taskstore" || !strings.Contains(first, "."), "backendtest imports %s", path)
	}
}

func TestRootModuleRequiresWhatItMay(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		"github.com/redis/go-redis/v9", "github.com/google/uuid", "github.com/stretchr/testify",
	}, strings.Fields(string(out)))
}

// The README's program is the one that is compiled and run as an example.
func TestREADMEShowsAnExampleThatRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, program, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	program, _, _ = strings.Cut(program, "```")
	example, err := os.ReadFile("example_readme_test.go")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(example), "func Example() {\n")
	require.True(t, ok)
	body, _, _ = strings.Cut(body, "\t// Output:")
	var lines []string
	for line := range strings.Lines(body) {
		lines = append(lines, strings.TrimPrefix(line, "\t"))
	}
	assert.Equal(t, strings.TrimSpace(strings.Join(lines, "")), strings.TrimSpace(program))
}

// Only serverClock looks at the process's clock; anything else that did could
// let a wrong clock decide about a record.
func TestRedisFilesDoNotAskTheProcessForTheTime(t *testing.T) {
	files, err := filepath.Glob("redis*.go")
	require.NoError(t, err)
	inside, err := filepath.Glob("internal/redis[fl]*/*.go")
	require.NoError(t, err)
	files = append(files, inside...)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Now" {
				x, ok := s.X.(*ast.Ident)
				assert.False(t, ok && x.Name == "time", "%s calls time.Now", set.Position(n.Pos()))
			}
			return true
		})
	}
}
