package backendtest

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMain lets many rules run at once: most of their time they wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A breach is a way to break rules of the contract.
type breach struct {
	rules string // the names of those that must notice, by spaces
	how   string
	apply func(f *fake)
}

func breaches() []breach {
	return slices.Concat(brokenKeys, brokenCollections, brokenVersions, brokenValues, brokenExpiry, brokenLists, brokenPages, brokenLimits, brokenOwners, brokenContexts, brokenWatches, brokenConnections, brokenReopening, brokenBatches, brokenBatchLimits, brokenBatchOutages)
}

// TestBroken checks that each rule notices the backends that break it.
func TestBroken(t *testing.T) {
	byName := make(map[string]rule)
	for _, r := range rules() {
		if _, twice := byName[r.name]; twice {
			t.Errorf("two rules are called %s", r.name)
		}
		byName[r.name] = r
	}
	for _, b := range breaches() {
		for _, name := range strings.Fields(b.rules) {
			r, ok := byName[name]
			if !ok {
				t.Errorf("%q is said to break %s, which is no rule", b.how, name)
				continue
			}
			t.Run(name+"/"+b.how, func(t *testing.T) {
				t.Parallel()
				rec := record(t, r, func(records, bytes int) *fake {
					f := newFake(records, bytes)
					b.apply(f)
					return f
				})
				if !rec.failed {
					t.Errorf("the rule does not notice; skipped: %t\n%s", rec.skipped, rec.log.String())
				}
				if rec.failed && !strings.Contains(rec.log.String(), r.text) {
					t.Errorf("the report does not hold the sentence of the contract:\n%s", rec.log.String())
				}
				if testing.Verbose() {
					t.Logf("%.600s", rec.log.String())
				}
			})
		}
	}
}

// TestEveryRuleIsBroken checks that each rule fails for some backend.
func TestEveryRuleIsBroken(t *testing.T) {
	broken := make(map[string]bool)
	for _, b := range breaches() {
		for _, name := range strings.Fields(b.rules) {
			broken[name] = true
		}
	}
	for _, r := range rules() {
		if !broken[r.name] {
			t.Errorf("no backend breaks %s", r.name)
		}
	}
}

// TestUnbroken checks that a backend that is only prepared for being broken
// keeps every rule, also with the patience of those that fail.
func TestUnbroken(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if rec := record(t, r, newFake); rec.failed || rec.skipped {
				t.Errorf("failed: %t, skipped: %t\n%s", rec.failed, rec.skipped, rec.log.String())
			}
		})
	}
}
