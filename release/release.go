package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const rootPath = "github.com/taskstore/taskstore"

// Modules that serve only work on the repository.
var unreleased = []string{"bench", "mcptasks/conformance", "release", "torture"}

func checkVersion(version string) error {
	switch {
	case !semver.IsValid(version) || semver.Canonical(version) != version:
		return fmt.Errorf("%q is not a version; set VERSION, such as VERSION=v0.1.0", version)
	case semver.Major(version) != "v0" && semver.Major(version) != "v1":
		return fmt.Errorf("%s needs a module path that ends with /%s", version, semver.Major(version))
	}
	return nil
}

// checkRepo returns an error if version cannot be released from the repository.
func checkRepo(repo, version string) error {
	status, err := git(repo, "status", "--porcelain")
	if err != nil {
		return err
	}
	if status != "" {
		return errors.New("the repository has uncommitted changes; commit or stash them")
	}
	if _, err := git(repo, "rev-parse", "-q", "--verify", "refs/tags/"+version); err == nil {
		return fmt.Errorf("the tag %s exists; a published version stays as it is, so choose a later one", version)
	}
	log, err := os.ReadFile(filepath.Join(repo, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(version) + `\s`).Match(log) {
		return fmt.Errorf("CHANGELOG.md has no heading \"## %s\"; add it and describe the release there", version)
	}
	return nil
}

// A goModule is a module of the repository.
type goModule struct {
	dir  string // in the repository, empty for the root
	file *modfile.File
}

func (m goModule) path() string { return m.file.Module.Mod.Path }

// needs returns the paths of the repository's modules that m requires.
func (m goModule) needs() (paths []string) {
	for _, r := range m.file.Require {
		if r.Mod.Path == rootPath || strings.HasPrefix(r.Mod.Path, rootPath+"/") {
			paths = append(paths, r.Mod.Path)
		}
	}
	return paths
}

func (m goModule) tag(version string) string { return filepath.ToSlash(filepath.Join(m.dir, version)) }

// modules returns the modules of the repository that are released, each after those that it
// requires.
func modules(repo string) ([]goModule, error) {
	files, err := git(repo, "ls-files", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var waiting []goModule
	for _, name := range strings.Fields(files) {
		dir := strings.TrimSuffix(strings.TrimSuffix(name, "go.mod"), "/")
		if slices.Contains(unreleased, dir) || strings.Contains(dir, "testdata") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, data, nil)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, goModule{dir: dir, file: file})
	}
	var sorted []goModule
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(m goModule) bool {
			return !slices.ContainsFunc(m.needs(), func(path string) bool {
				return slices.ContainsFunc(waiting, func(w goModule) bool { return w.path() == path })
			})
		})
		if i < 0 {
			return nil, errors.New("the modules require one another in a circle")
		}
		sorted = append(sorted, waiting[i])
		waiting = slices.Delete(waiting, i, i+1)
	}
	return sorted, nil
}

// release makes the commit and the tags in repo, and fills proxy, an empty folder, with the
// files that a module proxy would serve for them.
func release(repo, version, proxy string) (tags []string, err error) {
	repo, err = filepath.Abs(repo)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "taskstore-release-clone-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if _, err := git(repo, "clone", "-q", "--no-tags", repo, work); err != nil {
		return nil, err
	}
	all, err := modules(work)
	if err != nil {
		return nil, err
	}
	cache, err := os.MkdirTemp("", "taskstore-release-cache-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	env, err := proxyEnv(proxy, cache)
	if err != nil {
		return nil, err
	}
	message := "release: " + version
	if _, err := git(work, "commit", "-q", "--allow-empty", "-m", message); err != nil {
		return nil, err
	}
	for _, m := range all {
		if err := m.point(work, version, env); err != nil {
			return nil, err
		}
		if _, err := git(work, "commit", "-q", "--amend", "--allow-empty", "-a", "-m", message); err != nil {
			return nil, err
		}
		if err := publish(proxy, work, m, version); err != nil {
			return nil, err
		}
		tag := m.tag(version)
		tags = append(tags, tag)
	}
	for i, m := range all { // all on the last commit
		if _, err := git(work, "tag", "-a", "-m", m.path()+" "+version, tags[i]); err != nil {
			return nil, err
		}
	}
	_, err = git(repo, "fetch", "-q", work, "refs/tags/*:refs/tags/*")
	return tags, err
}

// point makes m require that version of the repository's modules, instead of their folders,
// and builds m with it.
func (m goModule) point(work, version string, env []string) error {
	for _, path := range m.needs() {
		if err := m.file.AddRequire(path, version); err != nil {
			return err
		}
	}
	for _, r := range slices.Clone(m.file.Replace) {
		if err := m.file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	m.file.Cleanup()
	data, err := m.file.Format()
	if err != nil {
		return err
	}
	dir := filepath.Join(work, m.dir)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), data, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "./..."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s in %q: %w\n%s", strings.Join(args, " "), m.dir, err, out)
		}
	}
	return nil
}

func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
