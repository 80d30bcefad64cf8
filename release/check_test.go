package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyVersionsOfV0AndV1AreReleased(t *testing.T) {
	for version, ok := range map[string]bool{
		"v0.1.0": true, "v1.2.3": true, "v0.1.0-rc.1": true,
		"": false, "0.1.0": false, "v0.1": false, "v0.1.0+build": false, "v2.0.0": false, "latest": false,
	} {
		assert.Equal(t, ok, checkVersion(version) == nil, "%q", version)
	}
}

// A repository is ready for a version if all is committed, the changelog has its heading, and
// its tag is free.
func TestOnlyAReadyRepositoryIsReleased(t *testing.T) {
	for _, name := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+name+"_NAME", "Test")
		t.Setenv("GIT_"+name+"_EMAIL", "test@example.com")
	}
	repo := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		_, err := git(repo, args...)
		require.NoError(t, err)
	}
	log := func(text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(repo, "CHANGELOG.md"), []byte(text), 0o600))
	}
	run("init", "-q")
	log("# Changelog\n\n## v0.1.0-rc.1\n\n- See ## v0.1.0 for more.\n")
	assert.ErrorContains(t, checkRepo(repo, "v0.1.0"), "uncommitted")
	run("add", ".")
	run("commit", "-q", "-m", "first")
	assert.ErrorContains(t, checkRepo(repo, "v0.1.0"), "no heading", "of that version alone")

	log("# Changelog\n\n## v0.1.0\n\n- All.\n")
	run("commit", "-q", "-a", "-m", "second")
	assert.NoError(t, checkRepo(repo, "v0.1.0"))

	run("tag", "v0.1.0")
	assert.ErrorContains(t, checkRepo(repo, "v0.1.0"), "exists")
}
