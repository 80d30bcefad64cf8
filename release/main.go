// Command release releases all modules of this repository at one version: it makes a commit
// with go.mod files that require that version instead of having replace directives, and a
// tag for each module on it. It leaves the branch as it is and does not push.
//
//	go run . -version v0.1.0
//
// With -check it only says whether the repository is ready for that.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	version := flag.String("version", "", "version to release, as in v0.1.0")
	repo := flag.String("repo", "..", "root of the repository")
	check := flag.Bool("check", false, "only check that the version can be released")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unexpected argument %q: the command takes flags only", flag.Arg(0)))
	}
	if err := checkVersion(*version); err != nil {
		fail(err)
	}
	if err := checkRepo(*repo, *version); err != nil {
		fail(err)
	}
	if *check {
		return
	}
	proxy, err := os.MkdirTemp("", "taskstore-release-")
	if err != nil {
		fail(err)
	}
	defer os.RemoveAll(proxy)
	tags, err := release(*repo, *version, proxy)
	if err != nil {
		fail(err)
	}
	fmt.Printf("Tagged %s. The branch is as it was. Look at the commit with\n\n  git show %s\n\nand push with\n\n  git push origin %s\n\nTo take it back before that: git tag -d %s\n",
		*version, tags[0], strings.Join(tags, " "), strings.Join(tags, " "))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "release:", err)
	os.Exit(1)
}
