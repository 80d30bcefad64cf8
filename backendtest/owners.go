package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

var ownerRules = []rule{
	{
		name: "owners/once",
		text: "Owners yields each owner that has records through the whole walk, in whatever collection, exactly once.",
		check: func(t *trial) {
			s := t.open()
			lister := power[taskstore.OwnerLister](s, "OwnerLister")
			base := newOwner()
			var all []string
			for _, end := range []string{"", "}", "{x}", ":", "*", "/1", "%7D", " ", "\x00", "\xff", ".x"} {
				owner := base + end
				all = append(all, owner)
				for i, collection := range []string{"", "a", "b}"} {
					if i == 0 && end == ":" {
						continue // it has named collections only
					}
					for _, task := range []string{"1", "2"} {
						s.mustPut(taskstore.Key{Owner: owner, Collection: collection, Task: task}, taskstore.Value{})
					}
				}
			}
			times := s.walkOwners(lister)
			for _, owner := range all {
				if n := times[owner]; n != 1 {
					t.Errorf("%q was yielded %d times", owner, n)
				}
				delete(times, owner)
			}
			for owner := range times {
				if len(owner) >= len(base) && owner[:len(base)] == base {
					t.Errorf("%q was yielded, and has had no record so far", owner)
				}
			}
		},
	},
	{
		name: "owners/gone",
		text: "An owner whose records have gone, by a delete or their end, is not yielded.",
		check: func(t *trial) {
			s := t.open()
			lister := power[taskstore.OwnerLister](s, "OwnerLister")
			deleted, expired := newKey(), newKey()
			deleted.Collection = "c"
			s.mustPut(deleted, taskstore.Value{})
			s.mustPut(expired, taskstore.Value{ExpiresAt: s.now().Add(50 * time.Millisecond)})
			if times := s.walkOwners(lister); times[deleted.Owner] != 1 {
				t.Errorf("an owner with a record in a collection was yielded %d times", times[deleted.Owner])
			}
			if _, err := s.Delete(t.ctx, deleted); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			t.eventually("neither owner is yielded", func() bool {
				times := s.walkOwners(lister)
				return times[deleted.Owner] == 0 && times[expired.Owner] == 0
			})
		},
	},
	{
		name: "owners/end",
		text: "Owners ends with the loop over it; if ctx is done it yields an error that matches ctx.Err(), and stops.",
		check: func(t *trial) {
			s := t.open()
			lister := power[taskstore.OwnerLister](s, "OwnerLister")
			for range 3 {
				s.mustPut(newKey(), taskstore.Value{})
			}
			n := 0
			for range lister.Owners(t.ctx) {
				n++
				break
			}
			if n != 1 {
				t.Errorf("a loop that breaks at once saw %d owners", n)
			}
			done, cancel := context.WithCancel(t.ctx)
			cancel()
			var errs []error
			for owner, err := range lister.Owners(done) {
				if err == nil {
					t.Errorf("an owner of %d bytes was yielded with a ctx that is done", len(owner))
				}
				errs = append(errs, err)
			}
			if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
				t.Errorf("with a ctx that is done it yielded %v", errs)
			}
		},
	},
}

// walkOwners returns how often the walk yielded each owner.
func (s *store) walkOwners(lister taskstore.OwnerLister) map[string]int {
	s.Helper()
	times := make(map[string]int)
	for owner, err := range lister.Owners(s.ctx) {
		if err != nil {
			s.Fatalf("Owners: %v", err)
		}
		times[owner]++
	}
	return times
}
