package mcptasks_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testReference  = regexp.MustCompile("`(Test\\w+)` ([\\w/]+_test\\.go)")
	checkReference = regexp.MustCompile("conformance(,? `[a-z0-9-]+`)+")
)

// faultsOf returns the faults of the tables of a text: rows without a test or a check, and
// rows that name one that does not exist. root is the repository.
func faultsOf(text, root string) (rows int, faults []string) {
	for n, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| rule |") {
			continue
		}
		rows++
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("line %d: ", n+1)+fmt.Sprintf(format, args...))
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 5 {
			fault("%d cells", len(cells))
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rule, level, section, duty, held := cells[0], cells[1], cells[2], cells[3], cells[4]
		if rule == "" || section == "" {
			fault("no rule, or no section")
		}
		if !slices.Contains([]string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"}, level) {
			fault("%q is no level", level)
		}
		if duty != "server" && duty != "client" {
			fault("%q has no duties", duty)
		}
		for name := range strings.SplitSeq(held, "; ") {
			test := testReference.FindStringSubmatch(name)
			switch {
			case test != nil && test[0] == name:
				if !isTest(filepath.Join(root, test[2]), test[1]) {
					fault("there is no %s in %s", test[1], test[2])
				}
			case checkReference.FindString(name) != name || name == "":
				fault("%q is neither a test with its file nor a check", name)
			}
		}
	}
	return rows, faults
}

func isTest(file, name string) bool {
	source, err := os.ReadFile(file)
	return err == nil && strings.Contains("\n"+string(source), "\nfunc "+name+"(t *testing.T) {")
}

// Every rule of the specification that docs/spec.md lists has a test that exists.
func TestEveryRuleOfTheSpecificationHasATest(t *testing.T) {
	text, err := os.ReadFile("../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, faults := faultsOf(string(text), "..")
	for _, fault := range faults {
		t.Errorf("docs/spec.md, %s", fault)
	}
	if rows < 70 {
		t.Errorf("docs/spec.md has %d rules", rows)
	}
}

func TestRulesWithoutATestAreNoticed(t *testing.T) {
	const row = "| a rule | MUST | a section | server | `TestEveryRuleOfTheSpecificationHasATest` mcptasks/spec_test.go; conformance `a`, `b-1` |"
	if rows, faults := faultsOf("# Title\n\n| rule | level | section | duty of | held by |\n|---|---|---|---|---|\n"+row, ".."); rows != 1 || len(faults) != 0 {
		t.Errorf("%d rows: %q", rows, faults)
	}
	for _, change := range [][2]string{
		{"a rule", ""}, {"a section", " "}, {"MUST", "must"}, {"MUST", ""}, {"server", "host"}, {"| a section ", ""},
		{"HasATest", "HasAnotherTest"}, {"spec_test.go", "wire_test.go"}, {"spec_test.go", "no_test.go"}, {" mcptasks/spec_test.go", ""},
		{"`TestEveryRuleOfTheSpecificationHasATest` mcptasks/spec_test.go; conformance `a`, `b-1`", ""},
		{"`TestEveryRuleOfTheSpecificationHasATest` mcptasks/spec_test.go; conformance `a`, `b-1`", "by hand"},
		{"conformance `a`, `b-1`", "conformance"}, {"conformance `a`", "`a`"},
	} {
		if _, faults := faultsOf(strings.Replace(row, change[0], change[1], 1), ".."); len(faults) == 0 {
			t.Errorf("%q in the place of %q is not noticed", change[1], change[0])
		}
	}
}
