package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// publish puts m, as of the last commit of repo, into the folder of a module proxy.
func publish(proxy, repo string, m goModule, version string) error {
	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := zip.CreateFromVCS(out, module.Version{Path: m.path(), Version: version}, repo, "HEAD", m.dir); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(repo, m.dir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]string{"Version": version})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{version + ".mod": mod, version + ".info": info, "list": []byte(version + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// proxyEnv returns the environment in which go fetches the modules of this repository from
// the folder, and all others from the machine's module cache or from its usual proxies. No
// checksum database knows the repository's modules. Go keeps the modules that it fetches in
// the folder cache: in the usual one, a version that may stay unpublished would remain.
// Trimmed paths let caches share build results.
func proxyEnv(proxy, cache string) ([]string, error) {
	out, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE").Output()
	if err != nil {
		return nil, err
	}
	others, usual, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	usual = filepath.Join(usual, "cache", "download")
	return append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(usual)+","+others,
		"GONOSUMDB="+rootPath+","+rootPath+"/*", "GOMODCACHE="+cache, "GOFLAGS=-modcacherw -trimpath", "GOWORK=off"), nil
}
