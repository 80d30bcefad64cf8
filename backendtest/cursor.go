package backendtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskstore/taskstore"
)

// cursorAfter returns a cursor at some place behind the first record. The first pages of
// some backends may be empty.
func (s *store) cursorAfter(p taskstore.Pager, prefix taskstore.Key) (first taskstore.Record, cursor string) {
	s.Helper()
	for range 1000 {
		page, next, err := p.ListPage(s.ctx, prefix, cursor, 1)
		switch {
		case err != nil:
			s.Fatalf("ListPage: %v", err)
		case next == "":
			s.Fatalf("a walk of pages of 1 ended before several records were seen")
		case len(page) == 1:
			return page[0], next
		}
		cursor = next
	}
	s.Fatalf("1000 pages and no record")
	return first, ""
}

var cursorRules = []rule{
	{
		name: "cursor/malformed",
		text: "A cursor that is malformed gives an error that matches ErrInvalidCursor.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(3)
			_, cursor := s.cursorAfter(p, of(owner, ""))
			for _, bad := range []string{
				"x", " ", "\x00", "\xff\xfe", "not a cursor", "=", "AAAA", "!" + cursor, cursor + "!", cursor + "\n",
				strings.Repeat("A", 22), strings.Repeat("A", 23), strings.Repeat("x", 10000),
			} {
				_, _, err := p.ListPage(t.ctx, of(owner, ""), bad, 10)
				s.wantError(fmt.Sprintf("ListPage with the cursor %q", clip(bad)), err, taskstore.ErrInvalidCursor)
			}
		},
	},
	{
		name:  "cursor/altered",
		text:  "A cursor that was altered gives an error that matches ErrInvalidCursor, or is one of the same prefix: it opens no other list.",
		check: checkAlteredCursor,
	},
	{
		name: "cursor/other-owner",
		text: "A cursor that belongs to another owner gives an error that matches ErrInvalidCursor.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			mine, _ := s.fill(3)
			theirs, _ := s.fill(3)
			_, cursor := s.cursorAfter(p, of(mine, ""))
			for _, owner := range []string{theirs, newOwner(), mine + "x", mine[:len(mine)-1]} {
				_, _, err := p.ListPage(t.ctx, of(owner, ""), cursor, 10)
				s.wantError("ListPage with another owner's cursor", err, taskstore.ErrInvalidCursor)
			}
		},
	},
	{
		name: "cursor/other-prefix",
		text: "A cursor that belongs to another prefix gives an error that matches ErrInvalidCursor.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(4)
			_, ofAll := s.cursorAfter(p, of(owner, ""))
			_, ofTasks := s.cursorAfter(p, of(owner, "task"))
			for _, c := range []struct{ prefix, cursor string }{
				{"task", ofAll}, {"t", ofAll}, {"none", ofAll}, {"", ofTasks}, {"tas", ofTasks}, {"task-", ofTasks},
			} {
				_, _, err := p.ListPage(t.ctx, of(owner, c.prefix), c.cursor, 10)
				s.wantError("ListPage with another prefix's cursor", err, taskstore.ErrInvalidCursor)
			}
			// The joint of owner and task is part of the prefix.
			_, _, err := p.ListPage(t.ctx, of(owner+"task", ""), ofTasks, 10)
			s.wantError("ListPage with a cursor whose prefix reads the same", err, taskstore.ErrInvalidCursor)
		},
	},
	{
		name: "cursor/deleted",
		text: "A cursor stays valid while records come and go, the one that it stands on too.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(6)
			prefix := of(owner, "")
			first, cursor := s.cursorAfter(p, prefix)
			s.mustDelete(first.Key)
			s.mustDelete(of(owner, "task-3"))
			s.mustPut(of(owner, "new"), text("x"))
			want := []string{"task-1", "task-2", "task-4", "task-5", "new"}
			for range 2 { // a cursor is not used up
				records, err := s.walkFrom(p, prefix, cursor, 2)
				if err != nil {
					t.Fatalf("ListPage: %v", err)
				}
				s.wantTasks("the rest of the walk", records, owner, want...)
			}
			for _, task := range want {
				s.mustDelete(of(owner, task))
			}
			records, err := s.walkFrom(p, prefix, cursor, 2)
			if err != nil {
				t.Fatalf("ListPage when all is deleted: %v", err)
			}
			s.wantTasks("the rest of the walk when all is deleted", records, owner)
		},
	},
	{
		name: "cursor/recreated",
		text: "A walk goes on in the order of creation: it comes to a record that was deleted and created again, and once to a record that was updated.",
		check: func(t *trial) {
			s := t.open()
			p := s.pager()
			owner, _ := s.fill(4)
			first, cursor := s.cursorAfter(p, of(owner, ""))
			s.mustPut(first.Key, text("updated"))
			s.mustPut(of(owner, "task-2"), text("updated"))
			s.mustDelete(of(owner, "task-1"))
			s.mustPut(of(owner, "task-1"), text("again"))
			records, err := s.walkFrom(p, of(owner, ""), cursor, 1)
			if err != nil {
				t.Fatalf("ListPage: %v", err)
			}
			s.wantTasks("the rest of the walk", records, owner, "task-2", "task-3", "task-1")
		},
	},
}

func checkAlteredCursor(t *trial) {
	s := t.open()
	p := s.pager()
	owner := newOwner()
	for _, task := range []string{"other", "task-0", "task-1", "task-2"} {
		s.mustPut(of(owner, task), text("x"))
	}
	prefix := of(owner, "task")
	_, cursor := s.cursorAfter(p, prefix)
	var altered []string
	for i := range len(cursor) {
		altered = append(altered, cursor[:i], cursor[i:], cursor[:i]+cursor[i+1:])
		for _, c := range []byte{cursor[i] ^ 1, cursor[i] ^ 0x20, cursor[i] ^ 0x80, 'A', '0', 0, '='} {
			altered = append(altered, cursor[:i]+string([]byte{c})+cursor[i+1:])
		}
	}
	for _, c := range altered {
		if c == "" || c == cursor {
			continue
		}
		// A forged cursor may return only records that its owner can list anyway.
		page, _, err := p.ListPage(t.ctx, prefix, c, 10)
		if err != nil && !errors.Is(err, taskstore.ErrInvalidCursor) {
			t.Errorf("ListPage with the cursor %q altered to %q: error %v, want nil or one that matches ErrInvalidCursor", cursor, c, err)
		}
		for _, r := range page {
			if r.Key.Owner != owner || !strings.HasPrefix(r.Key.Task, prefix.Task) {
				t.Errorf("ListPage with the cursor %q altered to %q returns a record of another prefix", cursor, c)
			}
		}
	}
}
