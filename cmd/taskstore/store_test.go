package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/sqlitestore"
)

// A password on the command line is refused, as other users can see it, and is not repeated.
func TestAPasswordOnTheCommandLineIsRefused(t *testing.T) {
	for _, url := range []string{
		"redis://user:s3cret@127.0.0.1:1", "rediss://:s3cret@127.0.0.1:1", "redis://127.0.0.1:1?password=s3cret",
		"redis://127.0.0.1:1?master_name=m&sentinel_Password=s3cret", "postgres://u:s3cret@127.0.0.1:1/db", "redis://user:s3cret%zz@127.0.0.1:1",
		"postgres://127.0.0.1:1/db?application_name=a;password=s3cret", "host=127.0.0.1 password=s3cret",
	} {
		for _, command := range [][]string{{"ls", "--all"}, {"doctor"}, {"migrate"}} {
			r := runStore(t, "", "", append(command, "--store", url)...)
			assert.Equal(t, exitUsage, r.code, url)
			assert.Contains(t, r.err, "TASKSTORE_URL", url)
			assert.NotContains(t, r.out+r.err, "s3cret", url)
		}
	}
	r := runStore(t, "", "", "ls", "--all", "--store", "redis://user@127.0.0.1:1", "--timeout", "5s")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.err, "cannot be reached")
}

// A store is named by a flag, a file, standard input or the environment, the flags first.
func TestWaysToNameAStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte("memory:\nnot this\n"), 0o600))
	const wrong = "redis://user:s3cret@127.0.0.1:1"
	for name, r := range map[string]result{
		"flag":        runStore(t, wrong, wrong, "owners", "--store", "memory:"),
		"file":        runStore(t, wrong, wrong, "owners", "--store-file", file),
		"input":       runStore(t, wrong, "memory:\n", "owners", "--store-file", "-"),
		"environment": runStore(t, "memory:", wrong, "owners"),
	} {
		assert.Equal(t, exitOK, r.code, "%s: %s", name, r.err)
	}
	for name, r := range map[string]result{
		"none":      runStore(t, "", wrong, "owners"),
		"both":      runStore(t, "", "", "owners", "--store", "memory:", "--store-file", file),
		"empty":     runStore(t, wrong, "\n", "owners", "--store-file", "-"),
		"prefix":    runStore(t, "memory:", "", "owners", "--prefix", "p"),
		"migration": runStore(t, "redis://127.0.0.1:1", "", "migrate"),
	} {
		assert.Equal(t, exitUsage, r.code, "%s: %s", name, r.err)
	}
	r := runStore(t, "nosuch://user:s3cret@h", "", "owners")
	assert.Equal(t, exitFailed, r.code)
	assert.NotContains(t, r.err, "s3cret")
	r = runStore(t, wrong, "", "doctor")
	assert.Equal(t, exitUnusable, r.code)
	assert.NotContains(t, r.out+r.err, "s3cret")
}

// The command opens a file of any name that exists, and creates no file: a mistyped name
// would else be a store without tasks.
func TestAFileThatIsNotThereIsNotMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "tasks@home%20.db")
	for _, url := range []string{"sqlite:" + path, "SQLite://" + path} {
		for _, command := range [][]string{{"ls", "--all"}, {"doctor"}, {"bench", "--duration", "10ms"}} {
			r := runStore(t, "", "", append(command, "--store", url)...)
			assert.NotEqual(t, exitOK, r.code)
			assert.Contains(t, r.out+r.err, "there is no such file", "%v", command)
		}
	}
	assert.NoDirExists(t, filepath.Dir(path))
	b, err := sqlitestore.Open(t.Context(), path, nil)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	t.Chdir(filepath.Dir(path))
	for _, url := range []string{"sqlite:" + path, "SQLite://" + path, "sqlite:tasks@home%20.db"} {
		r := runStore(t, "", "", "ls", "--all", "--store", url)
		assert.Equal(t, exitOK, r.code, "%s: %s", url, r.err)
	}
}

// runStore runs the command as it opens stores, with an environment and an input.
func runStore(t *testing.T, env, in string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(in), out: &out, err: &errs, getenv: func(name string) string {
		return map[string]string{"TASKSTORE_URL": env}[name]
	}}
	a.open = a.openStore
	return result{a.run(context.Background(), args), out.String(), errs.String()}
}
