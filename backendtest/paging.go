package backendtest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/taskstore/taskstore"
)

// walk reads all pages.
func (s *store) walk(p taskstore.Pager, prefix taskstore.Key, limit int) []taskstore.Record {
	s.Helper()
	records, err := s.walkFrom(p, prefix, "", limit)
	if err != nil {
		s.Fatalf("ListPage: %v", err)
	}
	return records
}

// walkFrom reads the pages from cursor on and checks their size.
func (s *store) walkFrom(p taskstore.Pager, prefix taskstore.Key, cursor string, limit int) (records []taskstore.Record, err error) {
	s.Helper()
	for pages := 0; ; pages++ {
		page, next, err := p.ListPage(s.ctx, prefix, cursor, limit)
		if err != nil {
			return nil, err
		}
		if len(page) > limit {
			return nil, fmt.Errorf("a page of %d records, the limit is %d", len(page), limit)
		}
		if pages > 20000 {
			return nil, fmt.Errorf("no end after %d pages, %d records", pages, len(records))
		}
		records = append(records, page...)
		if next == "" {
			return records, nil
		}
		cursor = next
	}
}

var pagingRules = []rule{
	{
		name: "paging/whole",
		text: "ListPage returns records as ListByPrefix does, a page at a time.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(70)
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			s.mustPut(of(owner, "task-6"), until("updated", at))
			s.mustDelete(of(owner, "task-13"))
			for _, limit := range []int{1, 2, 7, 69, 70, 1000} {
				for _, prefix := range []string{"", "task-1", "task-6", "task-69", "none"} {
					s.wantList(fmt.Sprintf("pages of %d with prefix %q", limit, prefix),
						s.walk(p, of(owner, prefix), limit), s.mustList(of(owner, prefix)))
				}
			}
		},
	},
	{
		name: "paging/many",
		text: "The pages of a list together are the list that ListByPrefix returns, for any number of records.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, tasks := s.fill(1100)
			for _, limit := range []int{99, 1000} {
				s.wantTasks("pages", s.walk(p, of(owner, ""), limit), owner, tasks...)
			}
			s.wantTasks("pages with a prefix", s.walk(p, of(owner, "task-109"), 3), owner, startingWith(tasks, "task-109")...)
		},
	},
	{
		name: "paging/none",
		text: "No match is an empty list, and no error, page by page too.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			key := newKey()
			s.wantTasks("pages of an owner without records", s.walk(p, of(key.Owner, ""), 10), key.Owner)
			s.mustPut(key, text("x"))
			s.wantTasks("pages of a prefix without records", s.walk(p, of(key.Owner, "other"), 1), key.Owner)
		},
	},
	{
		name: "paging/bounded",
		text: "A page holds at most limit records.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, tasks := s.fill(12)
			for limit := 1; limit <= 13; limit++ {
				s.wantTasks("pages", s.walk(p, of(owner, ""), limit), owner, tasks...) // walk checks the size
			}
		},
	},
	{
		name: "paging/huge-limit",
		text: "Any limit from 1 on is allowed; a page may hold fewer records.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, tasks := s.fill(5)
			for _, limit := range []int{1 << 20, math.MaxInt32, math.MaxInt - 1, math.MaxInt} {
				s.wantTasks("pages", s.walk(p, of(owner, ""), limit), owner, tasks...)
			}
		},
	},
	{
		name: "paging/limit",
		text: "A limit below 1 gives an error that matches ErrInvalidArgument.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(3)
			_, next, err := p.ListPage(t.ctx, of(owner, ""), "", 1)
			if err != nil {
				t.Fatalf("ListPage: %v", err)
			}
			for _, cursor := range []string{"", next} {
				for _, limit := range []int{0, -1, math.MinInt} {
					_, _, err := p.ListPage(t.ctx, of(owner, ""), cursor, limit)
					s.wantError(fmt.Sprintf("ListPage with limit %d", limit), err, taskstore.ErrInvalidArgument)
				}
			}
		},
	},
	{
		name: "paging/while-written",
		text: "A record that lives through the whole walk is returned exactly once, while records come and go.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			s.churn(func(c *churning) {
				for c.next() {
					c.wantStaying("pages", s.walk(p, of(c.owner, ""), c.n%7+1))
				}
			})
		},
	},
	{
		name: "paging/one-life",
		text: "No key is twice in one page; one that is deleted and created again may be in several.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			s.churn(func(c *churning) {
				for c.next() {
					page, _, err := p.ListPage(t.ctx, of(c.owner, ""), "", 500)
					if err != nil {
						t.Fatalf("ListPage: %v", err)
					}
					s.wantKeysOnce("page", page)
				}
			})
		},
	},
}

var allRules = []rule{
	{
		name: "all/whole",
		text: "All yields the records that ListByPrefix returns.",
		check: func(t *trial) {
			s := t.open()
			owner, _ := s.fill(450)
			for _, prefix := range []string{"", "task-4", "none"} {
				var got []taskstore.Record
				for r, err := range taskstore.All(t.ctx, s.StorageBackend, of(owner, prefix)) {
					if err != nil {
						t.Fatalf("All: %v", err)
					}
					got = append(got, r)
				}
				s.wantList("All", got, s.mustList(of(owner, prefix)))
			}
		},
	},
	{
		name: "all/break",
		text: "No lock is held while All yields: the loop may write, and may end early.",
		check: func(t *trial) {
			s := t.open()
			owner, _ := s.fill(5)
			ctx, cancel := context.WithTimeout(t.ctx, t.waitLimit)
			defer cancel()
			seen := 0
			for r, err := range taskstore.All(ctx, s.StorageBackend, of(owner, "")) {
				if err != nil {
					t.Fatalf("All: %v", err)
				}
				if seen++; seen == 3 {
					break
				}
				finished := make(chan error, 1)
				go func() {
					_, err := s.Put(ctx, r.Key, text("updated"))
					finished <- err
				}()
				select {
				case err := <-finished:
					if err != nil {
						t.Fatalf("Put: %v", err)
					}
				case <-ctx.Done():
					t.Fatalf("Put inside the loop did not return within %v", t.waitLimit)
				}
			}
			if seen != 3 {
				t.Errorf("the loop saw %d records, want 3", seen)
			}
			s.wantRecord(of(owner, "task-1"), 2, text("updated"))
			s.wantRecord(of(owner, "task-2"), 1, text("task-2"))
		},
	},
	{
		name: "all/error",
		text: "All yields the error, with a zero record, and then stops.",
		check: func(t *trial) {
			s := t.open()
			owner, _ := s.fill(3)
			for _, c := range []struct {
				ctx    context.Context
				prefix taskstore.Key
				want   error
			}{
				{done(t.ctx), of(owner, ""), context.Canceled},
				{t.ctx, of("", ""), taskstore.ErrInvalidKey},
			} {
				yields := 0
				for r, err := range taskstore.All(c.ctx, s.StorageBackend, c.prefix) {
					yields++
					s.wantError("All", err, c.want)
					s.wantSame("All with an error", r, taskstore.Record{})
				}
				if yields != 1 {
					t.Errorf("All yields %d times, want once", yields)
				}
			}
		},
	},
}
