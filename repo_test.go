package taskstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules that the repository keeps about itself.

// A program that imports taskstore links the standard library, go-redis and its dependencies,
// and no test code.
func TestUsersLinkNoTestCode(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		allowed := path == "github.com/taskstore/taskstore" ||
			slices.ContainsFunc([]string{
				"github.com/taskstore/taskstore/internal/cursor", "github.com/taskstore/taskstore/internal/hub", "github.com/taskstore/taskstore/internal/redislink", "github.com/taskstore/taskstore/internal/redisfeed", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash", "go.uber.org/atomic", "golang.org/x/sys",
			}, func(p string) bool { return strings.HasPrefix(path, p) })
		assert.True(t, allowed, "a user's program links %s", path)
	}
	std, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	assert.NotContains(t, strings.Fields(string(std)), "testing")
}

// The suite is for the tests of all programs and brings no dependency along.
func TestSuiteNeedsOnlyTheStandardLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./backendtest").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(path, "/")
		assert.True(t, path == "github.com/taskstore/taskstore" || !strings.Contains(first, "."), "backendtest imports %s", path)
	}
}

func TestRootModuleRequiresOnlyAllowedModules(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		"github.com/redis/go-redis/v9", "github.com/google/uuid", "github.com/stretchr/testify",
	}, strings.Fields(string(out)))
}

// imports returns the packages that each file of the repository's modules names, by the
// file's path.
func imports(t *testing.T) map[string][]string {
	files := make(map[string][]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(path)] = nil
			for _, spec := range f.Imports {
				files[filepath.ToSlash(path)] = append(files[filepath.ToSlash(path)], strings.Trim(spec.Path.Value, `"`))
			}
		}
		return nil
	}))
	return files
}

// Imports go one way: tasks, taskstore, redisfeed, redislink, go-redis. Only redislink can
// send a command, so only it can have one resent; redis.go names the client in its signatures,
// and redis_url.go makes one of a URL. The command silences the client, and an example has a
// queue of its own. Other packages and modules stay out of internal, as a user has to, but for
// two: stores share the hub, and bench measures go-redis by itself, on servers that redistest
// and pgtest start.
func TestImportsGoOneWay(t *testing.T) {
	const root = "github.com/taskstore/taskstore"
	seen := make(map[string]int) // by the first part of the path
	for path, names := range imports(t) {
		for _, name := range names {
			within := func(dir string) bool { return strings.HasPrefix(path, dir+"/") }
			if strings.HasSuffix(path, "_test.go") || within("internal/storetest") { // which only tests import
				continue
			}
			allowed := true
			switch {
			case strings.HasPrefix(name, "github.com/redis/go-redis/"):
				allowed = within("internal/redislink") || path == "redis.go" || path == "redis_url.go" || within("bench") ||
					within("mcptasks/examples") || within("cmd") && strings.HasSuffix(name, "/logging")
			case strings.HasPrefix(name, root+"/internal/") && within("internal"):
				allowed = !within("internal/redislink") || name != root+"/internal/redisfeed"
			case name == root+"/internal/redislink" || name == root+"/internal/redisfeed":
				allowed = !strings.Contains(path, "/")
			case name == root+"/internal/cursor":
				allowed = !strings.Contains(path, "/")
			case name == root+"/internal/hub":
				allowed = !strings.Contains(path, "/") || within("sqlitestore") || within("pgstore")
			case strings.HasPrefix(name, root+"/internal/"):
				allowed = within("bench") && (name == root+"/internal/redistest" || name == root+"/internal/pgtest")
			case name == root || strings.HasPrefix(name, root+"/"):
				allowed = !within("internal")
			default:
				continue
			}
			part, _, _ := strings.Cut(path, "/")
			seen[part]++
			assert.True(t, allowed, "%s imports %s", path, name)
		}
	}
	for _, part := range []string{"internal", "tasks", "backendtest", "mcptasks", "otel", "pgstore", "sqlitestore", "torture", "bench", "examples", "redis.go"} {
		assert.NotZero(t, seen[part], "the files of %s were found", part)
	}
}

// redis.go has the client in signatures only, and does not keep it.
func TestTheRootKeepsNoClient(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "redis.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		if fields, ok := n.(*ast.StructType); ok {
			ast.Inspect(fields, func(n ast.Node) bool {
				x, ok := n.(*ast.Ident)
				assert.False(t, ok && x.Name == "redis", "a struct of redis.go keeps something of go-redis")
				return true
			})
		}
		return true
	})
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
