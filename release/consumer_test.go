package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const version = "v0.0.1"

// Programs outside the repository fetch a release, build and run. They link the modules that
// they need and no others.
func TestReleaseServesConsumers(t *testing.T) {
	for _, name := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+name+"_NAME", "Test")
		t.Setenv("GIT_"+name+"_EMAIL", "test@example.com")
	}
	repo := filepath.Join(t.TempDir(), "repo")
	_, err := git(".", "clone", "-q", "--no-tags", "..", repo)
	require.NoError(t, err)
	before, err := git(repo, "rev-parse", "HEAD")
	require.NoError(t, err)
	proxy := t.TempDir()
	tags, err := release(repo, version, proxy)
	require.NoError(t, err)

	t.Run("TheBranchIsAsItWas", func(t *testing.T) {
		after, err := git(repo, "rev-parse", "HEAD")
		require.NoError(t, err)
		assert.Equal(t, before, after)
		for _, tag := range tags {
			mod, err := git(repo, "show", tag+":"+strings.TrimSuffix(tag, version)+"go.mod")
			require.NoError(t, err)
			assert.NotContains(t, mod, "replace ")
			assert.NotContains(t, mod, "v0.0.0-00010101000000")
		}
	})

	// One cache serves all consumers. It begins empty, to keep out the modules of this machine.
	env, err := proxyEnv(proxy, t.TempDir())
	require.NoError(t, err)

	root := []string{rootPath, "github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic", "golang.org/x/sys"}
	for name, c := range map[string]struct {
		get    []string
		links  []string // the only modules that it may link; nil: any
		absent []string
		prints string
	}{
		"memory":    {get: []string{""}, links: root, prints: "version 1 <nil>"},
		"redis":     {get: []string{""}, links: append([]string{"github.com/google/uuid"}, root...), prints: "no server"},
		"mcpserver": {get: []string{"", "/mcptasks"}, absent: []string{"modernc.org/", "github.com/jackc/", "go.opentelemetry.io/"}, prints: "installed <nil>"},
		"sqlite":    {get: []string{"", "/sqlitestore"}, absent: []string{"github.com/jackc/", "go.opentelemetry.io/", "github.com/modelcontextprotocol/"}, prints: "version 1 <nil>"},
		"telemetry": {get: []string{"", "/mcptasks", "/otel"}, absent: []string{"modernc.org/", "github.com/jackc/", "github.com/prometheus/", "go.opentelemetry.io/otel/sdk"}, prints: "installed <nil>"},
		"postgres":  {get: []string{"", "/pgstore"}, absent: []string{"modernc.org/", "go.opentelemetry.io/", "github.com/modelcontextprotocol/"}, prints: "no server"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program, err := os.ReadFile(filepath.Join("testdata", name, "main.go"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program, 0o644))
			run := func(args ...string) string {
				cmd := exec.Command("go", args...)
				cmd.Dir, cmd.Env = dir, env
				out, err := cmd.Output()
				var failed *exec.ExitError
				if assert.NotErrorAs(t, err, &failed) {
					return string(out)
				}
				require.FailNow(t, "go "+strings.Join(args, " "), "%s", failed.Stderr)
				return ""
			}
			run("mod", "init", "example.com/"+name)
			for _, path := range c.get {
				run("get", rootPath+path+"@"+version)
			}
			run("mod", "tidy")
			assert.Equal(t, c.prints, strings.TrimSpace(run("run", ".")))
			linked := strings.Fields(run("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
			assert.Contains(t, linked, rootPath)
			for _, path := range linked {
				if c.links != nil {
					assert.Contains(t, c.links, path)
				}
				for _, prefix := range c.absent {
					assert.False(t, strings.HasPrefix(path, prefix), "it links %s", path)
				}
			}
		})
	}
}
