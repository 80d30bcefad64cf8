package taskstore_test

import (
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules that hold CI, the Makefile and the table of versions to the modules.

// modules returns the directories of all modules of the repository, with slashes.
func modules(t *testing.T) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.Name() == "go.mod":
			found = append(found, filepath.ToSlash(filepath.Dir(name)))
		}
		return nil
	}))
	require.Contains(t, found, "mcptasks/examples")
	return found
}

// matches returns the first group of each match.
func matches(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// Dependabot looks after each module.
func TestDependabotKnowsEveryModule(t *testing.T) {
	var want []string
	for _, dir := range modules(t) {
		want = append(want, path.Join("/", dir))
	}
	_, list, ok := strings.Cut(read(t, ".github/dependabot.yml"), "package-ecosystem: gomod\n    directories:\n")
	require.True(t, ok)
	list, _, _ = strings.Cut(list, "    schedule:")
	assert.ElementsMatch(t, want, matches(`(?m)^      - (\S+)$`, list))
}

// CI tries the store on each server of make compat, and with the oldest Go that go.mod allows.
func TestCITriesEveryServerAndTheOldestGo(t *testing.T) {
	ci := read(t, ".github/workflows/ci.yml")
	servers := matches(`(?m)^((?:redis|valkey)-\d\S*) `, read(t, "scripts/fetch-servers.sh"))
	require.NotEmpty(t, servers)
	tried := matches(`(?m)^ +server: \[(.*)\]$`, ci)
	require.Len(t, tried, 1)
	assert.Equal(t, servers, strings.Split(tried[0], ", "))
	oldest := matches(`(?m)^go (\d+\.\d+)`, read(t, "go.mod"))
	require.Len(t, oldest, 1)
	assert.Contains(t, ci, `go: ["`+oldest[0]+`", stable]`)
}

// Every target of the Makefile says how long it takes, in the line that make help prints.
func TestEveryTargetSaysHowLongItTakes(t *testing.T) {
	makefile := read(t, "Makefile")
	phony := matches(`(?m)^\.PHONY: (.*)$`, makefile)
	require.Len(t, phony, 1)
	timed := matches(`(?m)^([a-z]+):.*## .* \((?:\d+(?:\.\d+)? min|an hour|hours)(?: or more)?\)$`, makefile)
	for _, target := range strings.Fields(phony[0]) {
		if target != "help" && target != "need-go" {
			assert.Contains(t, timed, target)
		}
	}
}

// The table of versions has those of the go.mod files, and the pages the oldest Go.
func TestVersionsArePublishedAsTheyAre(t *testing.T) {
	page := read(t, "docs/versions.md")
	rows := regexp.MustCompile("(?m)^\\| `taskstore(/[a-z/]+)?` \\| `(\\S+)` \\| (\\S+) \\|$").FindAllStringSubmatch(page, -1)
	require.Len(t, rows, 4)
	for _, row := range rows {
		mod := read(t, path.Join(".", row[1], "go.mod"))
		assert.Contains(t, mod, "\t"+row[2]+" "+row[3]+"\n", "go.mod of %s", row[1])
	}
	var versions []string
	for _, dir := range modules(t) {
		versions = append(versions, matches(`(?m)^go (\S+)$`, read(t, path.Join(dir, "go.mod")))...)
	}
	slices.Sort(versions)
	versions = slices.Compact(versions)
	require.Len(t, versions, 1, "all modules need the same Go")
	assert.Contains(t, page, "| Go | "+versions[0]+" |")
	assert.Contains(t, read(t, "README.md"), "With Go "+strings.TrimSuffix(versions[0], ".0")+" or later")

	// Formats, by the constants that the code writes.
	_, formats, ok := strings.Cut(page, "\n## Record formats\n")
	require.True(t, ok)
	format := func(what string) []string { return matches(`(?m)^\| `+regexp.QuoteMeta(what)+` \| (\d+) \|`, formats) }
	for what, source := range map[string][2]string{
		"a task's record":                                {"tasks/record.go", `recordFormat = (\d+)`},
		"an idempotency key":                             {"tasks/idempotency.go", `keyFormat = (\d+)`},
		"an entry of the registry":                       {"tasks/entry.go", `entryFormat = (\d+)`},
		"a reference of a detached task, and its secret": {"tasks/ref.go", `refFormat = (\d+)`},
	} {
		assert.Equal(t, matches(source[1], read(t, source[0])), format(what), what)
	}
	for what, source := range map[string]string{"SQLite's schema": "sqlitestore/schema.go", "PostgreSQL's schema": "pgstore/migrate.go"} {
		lists := matches(`(?m)^var (?:migrations|schemaFiles) = \[\]string\{(.*)\}$`, read(t, source))
		require.Len(t, lists, 1, source)
		assert.Equal(t, format(what), []string{strconv.Itoa(len(strings.Split(lists[0], ",")))}, what)
	}
}
