package taskstore_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules that hold the pages of the repository to each other and to the code.

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// firstProgram returns the first block of Go of a page.
func firstProgram(t *testing.T, page string) string {
	t.Helper()
	_, program, ok := strings.Cut(read(t, page), "```go\n")
	require.True(t, ok, page)
	program, _, ok = strings.Cut(program, "```\n")
	require.True(t, ok, page)
	return program
}

// pages returns the paths of all pages of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".github" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			found = append(found, path)
		}
		return nil
	}))
	return found
}

// README's server is the one that is compiled and tried as an example.
func TestREADMEShowsAServerThatRuns(t *testing.T) {
	assert.Equal(t, read(t, "mcptasks/examples/small/main.go"), firstProgram(t, "README.md"))
}

// The program of the page about the store is the one that is compiled and run as an example.
func TestThePageAboutTheStoreShowsAnExampleThatRuns(t *testing.T) {
	_, body, ok := strings.Cut(read(t, "example_readme_test.go"), "func Example() {\n")
	require.True(t, ok)
	body, _, _ = strings.Cut(body, "\t// Output:")
	var lines []string
	for line := range strings.Lines(body) {
		lines = append(lines, strings.TrimPrefix(line, "\t"))
	}
	assert.Equal(t, strings.TrimSpace(strings.Join(lines, "")), strings.TrimSpace(firstProgram(t, "docs/store.md")))
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	linkTarget = regexp.MustCompile(`\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)`)
	linkedText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	heading    = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
)

// prose yields the lines of a page outside blocks of code.
func prose(page string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		block := false
		for i, line := range strings.Split(page, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				block = !block
			} else if !block && !yield(i+1, line) {
				return
			}
		}
	}
}

// links returns the targets of the links of a page, each with its line.
func links(page string) (found []string, lines []int) {
	for n, line := range prose(page) {
		for _, m := range linkTarget.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, "``"), -1) {
			found, lines = append(found, m[1]), append(lines, n)
		}
	}
	return found, lines
}

// anchors returns the names that GitHub gives the headings of a page.
func anchors(page string) map[string]bool {
	names := make(map[string]bool)
	for _, line := range prose(page) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, linkedText.ReplaceAllString(m[1], "$1"))
		for n, first := 1, name; names[name]; n++ {
			name = fmt.Sprintf("%s-%d", first, n)
		}
		names[name] = true
	}
	return names
}

// brokenLinks says which links of a page, at a path, lead to no file or no heading.
func brokenLinks(path, page string) (broken []string) {
	targets, lines := links(page)
	for i, target := range targets {
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		file, anchor, _ := strings.Cut(target, "#")
		there := page
		if file != "" {
			full := filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			info, err := os.Stat(full)
			if err != nil {
				broken = append(broken, fmt.Sprintf("%s:%d: %s leads to no file", path, lines[i], target))
				continue
			}
			if anchor == "" || info.IsDir() {
				continue
			}
			text, err := os.ReadFile(full)
			if err != nil {
				broken = append(broken, fmt.Sprintf("%s:%d: %s: %v", path, lines[i], target, err))
				continue
			}
			there = string(text)
		}
		if !anchors(there)[anchor] {
			broken = append(broken, fmt.Sprintf("%s:%d: %s leads to no heading", path, lines[i], target))
		}
	}
	return broken
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	checked := 0
	for _, path := range pages(t) {
		page := read(t, path)
		targets, _ := links(page)
		checked += len(targets)
		assert.Empty(t, brokenLinks(path, page))
	}
	assert.Greater(t, checked, 60)
}

func TestBrokenLinksAreNoticed(t *testing.T) {
	const page = "# A *page*, with [a link](LICENSE)\n\n## `Code` of it\n## `Code` of it\n"
	for link, ok := range map[string]bool{
		"README.md": true, "docs/README.md": true, "docs": true, "https://go.dev": true, "#a-page-with-a-link": true,
		"#code-of-it": true, "#code-of-it-1": true, "README.md#which-store": true, "docs/redis.md#the-user": true,
		"READ.md": false, "docs/READ.md": false, "#code-of-it-2": false, "#a-page": false, "README.md#no-such": false,
	} {
		assert.Equal(t, ok, brokenLinks("CHANGELOG.md", page+"see [it]("+link+")\n") == nil, link)
	}
	assert.Nil(t, brokenLinks("CHANGELOG.md", page+"`[it](none)`\n```\n[it](none)\n```\n"))
}

// Each page of docs is in its index.
func TestTheIndexHasEveryPage(t *testing.T) {
	targets, _ := links(read(t, "docs/README.md"))
	for _, path := range pages(t) {
		name, within := strings.CutPrefix(filepath.ToSlash(path), "docs/")
		if within && name != "README.md" {
			assert.Contains(t, targets, name)
		}
	}
}
