package backendtest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// report runs check as a rule and returns its reports.
func report(t *testing.T, check func(t *trial)) *recorder {
	t.Helper()
	return record(t, rule{name: "some/rule", text: "Some sentence.", check: check}, newFake)
}

func TestABrokenRuleReportsSoManyFailuresAndCountsTheRest(t *testing.T) {
	t.Parallel()
	rec := report(t, func(t *trial) {
		for range 1000 {
			t.Errorf("the same once more")
		}
		t.Fatalf("the end")
	})
	got := rec.log.String()
	if n := strings.Count(got, "the same once more"); n != maxFailures || !rec.failed {
		t.Errorf("%d failures are printed, want %d; failed: %t", n, maxFailures, rec.failed)
	}
	for _, want := range []string{"the end", "and 980 more failures", "Some sentence."} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
}

func TestAKeptRuleReportsNoFailure(t *testing.T) {
	t.Parallel()
	if rec := report(t, func(*trial) {}); rec.failed || rec.log.Len() > 0 {
		t.Errorf("failed: %t\n%s", rec.failed, rec.log.String())
	}
}

func TestAReportQuotesBytesAndIsShort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ message, want string }{
		{"plain text, \u00e9 and \u4e16\n\ttoo", "plain text, \u00e9 and \u4e16\n\\ttoo"},
		{"a\x00b\x1b[31m\r\x7f", `a\x00b\x1b[31m\r\x7f`},
		{"\xff\xfe\ufffd", `\xff\xfe` + "\ufffd"},
		{"\u202e\u2028", `\u202e\u2028`},
	} {
		rec := report(t, func(t *trial) { t.Errorf("%v", errors.New(c.message)) })
		if got, _, _ := strings.Cut(rec.log.String(), "\nthe contract"); got != c.want {
			t.Errorf("%q is printed as %q, want %q", c.message, got, c.want)
		}
	}
	rec := report(t, func(t *trial) { t.Errorf("%s", strings.Repeat("\x00", 1<<20)) })
	if n := rec.log.Len(); n > 2*maxLineBytes || !strings.Contains(rec.log.String(), "bytes more") {
		t.Errorf("a failure of 1 MiB is printed in %d bytes", n)
	}
}

func TestTheSummaryHasTheBrokenRulesInTheOrderOfMending(t *testing.T) {
	t.Parallel()
	var l tallyOfRules
	if got := l.summary(); got != "" {
		t.Errorf("the summary of no broken rule is %q", got)
	}
	for _, name := range []string{"watch/hints", "list/order", "versions/count", "values/empty"} {
		l.note(name, true)
	}
	l.note("cas/match", false)
	want := "4 rules of the contract are broken; mend them in this order:\n\tversions/count\n\tvalues/empty\n\tlist/order\n\twatch/hints"
	if got := l.summary(); got != want {
		t.Errorf("the summary is %q, want %q", got, want)
	}
}

// A rule that others need is mended before them.
func TestRulesAreInTheOrderOfMending(t *testing.T) {
	t.Parallel()
	place := make(map[string]int)
	for i, r := range rules() {
		area, _, _ := strings.Cut(r.name, "/")
		if last, seen := place[area]; seen && last != i-1 {
			t.Errorf("the rules of %s do not follow one another", area)
		}
		place[area] = i
	}
	for _, order := range [][]string{
		{"versions", "values", "cas", "delete", "list", "paging", "cursor"},
		{"expiry", "expired", "limits"},
		{"watch", "reconnect"},
		{"isolation", "contexts", "close", "watch"},
	} {
		for i := range order[1:] {
			if place[order[i]] >= place[order[i+1]] {
				t.Errorf("%s comes after %s", order[i], order[i+1])
			}
		}
	}
}

// The pages name the number of rules.
func TestThePagesNameTheNumberOfRules(t *testing.T) {
	want := fmt.Sprintf("%d rules", len(rules()))
	for _, page := range []string{"../docs/proof.md", "../docs/own-backend.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say that the contract has %s", page, want)
		}
	}
}
