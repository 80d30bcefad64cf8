// Package backendtest checks a [taskstore.StorageBackend] against the contract
// that package taskstore states, sentence by sentence.
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
//			return newBackend(tb)
//		}, nil)
//	}
//
// Each rule is a subtest, named area/rule, and prints the sentence that it checks
// when it fails. Rules about an optional power, such as [taskstore.Pager], are
// skipped if the backend does not have it.
package backendtest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
)

// Hooks are functions for rules that the contract alone cannot check.
type Hooks struct {
	// OpenLimited opens a backend with these limits (0: no limit). If it is nil, the
	// rules about limits are skipped.
	OpenLimited func(tb testing.TB, maxRecordsPerOwner, maxDataBytes int) taskstore.StorageBackend
	// Break cuts the connections between b and its store, so that b has to connect
	// again, and returns when they are cut. It may be called while b is in use. If it
	// is nil, the rules about lost connections are skipped.
	Break func(tb testing.TB, b taskstore.StorageBackend)
	// Reopen ends b and opens its store again with the options of b, as a restarted
	// process does. It may be called while b is in use; the calls on b then give errors.
	// If it is nil, the rules about durability are skipped: a store that lives in the
	// process has no more to keep.
	Reopen func(tb testing.TB, b taskstore.StorageBackend) taskstore.StorageBackend
}

// Run checks the backends that open returns against every rule of the contract.
// Nil hooks are the zero Hooks.
//
// The rules start in the order in which the author of a new backend should mend them, and
// the report ends with the names of the broken ones in that order: a rule often breaks
// because one before it does.
//
// Every rule calls open, from its own subtest, and most rules run in parallel.
// The backends that open returns may share one store, as long as each sees only its own
// records. They may even be one and the same: each rule uses owners of its own, and only
// the rules about closing are skipped then. open should release its backend with tb.Cleanup.
func Run(t *testing.T, open func(tb testing.TB) taskstore.StorageBackend, hooks *Hooks) {
	t.Helper()
	if hooks == nil {
		hooks = new(Hooks)
	}
	var broken tallyOfRules
	t.Cleanup(func() {
		if summary := broken.summary(); summary != "" {
			t.Log(summary)
		}
	})
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { broken.note(r.name, t.Failed()) })
			r.run(newTrial(t, t, open, hooks))
		})
	}
}

// A rule is a sentence of the contract, with the check that a backend keeps it.
type rule struct {
	name  string // area/rule
	text  string // the sentence
	check func(t *trial)
}

// rules returns all rules, in the order in which to mend them: a record first, then keys
// and lists, then time, limits, effects of the process or the network, and optional powers
// at the end.
func rules() []rule {
	return slices.Concat(
		versionRules,
		valueRules,
		casRules,
		deleteRules,
		keyRules,
		isolationRules,
		collectionRules,
		listingRules,
		expiryRules,
		goneRules,
		limitRules,
		errorRules,
		contextRules,
		closeRules,
		reopenRules,
		reopenBatchRules,
		clockRules,
		pagingRules,
		cursorRules,
		allRules,
		batchRules,
		batchLimitRules,
		batchRaceRules,
		ownerRules,
		watchRules,
		watchEndRules,
		reconnectRules,
		reconnectBatchRules,
	)
}

// run runs the rule and prints its sentence if it is broken.
func (r rule) run(t *trial) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.sayUnsaid()
			t.Logf("the contract, %s: %s", r.name, r.text)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 12*t.waitLimit)
	defer cancel()
	t.ctx, t.text = ctx, r.text
	r.check(t)
}

// A reporter is the part of [testing.TB] that the rules need. Only package testing can
// implement a testing.TB, and the tests of the suite run rules that have to fail.
type reporter interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Context() context.Context
	Cleanup(func())
}

// waitLimit is how long a rule waits for an expected event. The event usually comes at
// once, so only a broken backend takes that long.
const waitLimit = 10 * time.Second

// A trial is one run of one rule.
type trial struct {
	reporter
	waitLimit time.Duration
	ctx       context.Context // of the calls; done when the rule takes far too long
	text      string          // the rule's sentence
	said      atomic.Int64    // how many failures were reported

	openBackend func() taskstore.StorageBackend
	openLimited func(maxRecordsPerOwner, maxDataBytes int) taskstore.StorageBackend // may be nil
	cut         func(taskstore.StorageBackend)                                      // may be nil
	openAgain   func(taskstore.StorageBackend) taskstore.StorageBackend             // may be nil
}

// newTrial returns a trial that reports to r. The opening functions get tb.
func newTrial(r reporter, tb testing.TB, open func(testing.TB) taskstore.StorageBackend, hooks *Hooks) *trial {
	t := &trial{
		reporter:    r,
		waitLimit:   waitLimit,
		openBackend: func() taskstore.StorageBackend { tb.Helper(); return open(tb) },
	}
	if hooks.OpenLimited != nil {
		t.openLimited = func(records, bytes int) taskstore.StorageBackend {
			tb.Helper()
			return hooks.OpenLimited(tb, records, bytes)
		}
	}
	if hooks.Break != nil {
		t.cut = func(b taskstore.StorageBackend) { tb.Helper(); hooks.Break(tb, b) }
	}
	if hooks.Reopen != nil {
		t.openAgain = func(b taskstore.StorageBackend) taskstore.StorageBackend { tb.Helper(); return hooks.Reopen(tb, b) }
	}
	return t
}

// skip skips the rule and reports its sentence.
func (t *trial) skip(why string) {
	t.Helper()
	t.Skipf("%s: %s", why, t.text)
}

// eventually waits until cond holds.
func (t *trial) eventually(what string, cond func() bool) {
	t.Helper()
	for start := time.Now(); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > t.waitLimit {
			t.Fatalf("waited %v and it did not happen: %s", t.waitLimit, what)
		}
	}
}
