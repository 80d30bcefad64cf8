package backendtest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

// inOrder lists the records of prefix in one of the orders of writing.
func (f *fake) inOrder(ctx ctxt, order *[]key, prefix key) (records []entry, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, k := range f.keys(order) {
		if k.Owner == prefix.Owner && strings.HasPrefix(k.Task, prefix.Task) {
			if r, err := f.m.Get(ctx, k); err == nil {
				records = append(records, r)
			}
		}
	}
	return records, nil
}

// onList makes ListByPrefix alter the records that it returns.
func onList(alter func([]entry) []entry) func(f *fake) {
	return func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			return alter(records), err
		}
	}
}

// onPrefix makes ListByPrefix choose otherwise.
func onPrefix(chosen func(task, prefix string) bool) func(f *fake) {
	return func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, of(prefix.Owner, ""))
			return keep(records, func(r entry) bool { return chosen(r.Key.Task, prefix.Task) }), err
		}
	}
}

// byOffset reads a page that starts at an index.
func (f *fake) byOffset(ctx ctxt, prefix key, offset, limit int) (page []entry, next int, err error) {
	defer time.Sleep(50 * time.Microsecond) // so that writers come in between
	records, err := f.m.ListByPrefix(ctx, prefix)
	if err != nil || offset >= len(records) {
		return nil, 0, err
	}
	page = records[offset:]
	if limit < len(page) {
		return page[:limit], offset + limit, nil
	}
	return page, 0, nil
}

var brokenLists = []breach{
	{"list/records", "a list has no data", onList(func(records []entry) []entry {
		for i := range records {
			records[i].Data = nil
		}
		return records
	})},
	{"list/records", "a list has no expiry", onList(func(records []entry) []entry {
		for i := range records {
			records[i].ExpiresAt = records[0].ExpiresAt
		}
		return records
	})},
	{"list/records", "a list has no versions", onList(func(records []entry) []entry {
		for i := range records {
			records[i].Version = 1
		}
		return records
	})},
	{"list/order", "a list is sorted by task", onList(func(records []entry) []entry {
		slices.SortFunc(records, func(a, b entry) int { return strings.Compare(a.Key.Task, b.Key.Task) })
		return records
	})},
	{"list/order", "a list has the youngest first", onList(func(records []entry) []entry {
		slices.Reverse(records)
		return records
	})},
	{"list/order-after-update", "a list is in the order of the last write", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) { return f.inOrder(ctx, &f.latest, prefix) }
	}},
	{"list/prefix", "the prefix may be anywhere", onPrefix(strings.Contains)},
	{"list/prefix", "the prefix is not looked at", onPrefix(func(string, string) bool { return true })},
	{"list/prefix", "the prefix ends at a colon", onPrefix(func(task, prefix string) bool {
		return task == prefix || strings.HasPrefix(task, strings.TrimSuffix(prefix, ":")+":")
	})},
	{"list/prefix list/prefix-bytes", "case does not matter", onPrefix(func(task, prefix string) bool {
		return strings.HasPrefix(strings.ToLower(task), strings.ToLower(prefix))
	})},
	{"list/prefix-bytes", "the prefix is a pattern", onPrefix(func(task, prefix string) bool {
		matched, _ := path.Match(prefix+"*", task)
		return matched
	})},
	{"list/none", "an empty list is an error", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) ([]entry, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			if err == nil && len(records) == 0 {
				err = taskstore.ErrNotFound
			}
			return records, err
		}
	}},
	{"list/many", "a list ends after 1000", onList(func(records []entry) []entry { return records[:min(len(records), 1000)] })},
	{"list/while-written", "a new life is listed twice", onList(func(records []entry) []entry {
		for _, r := range records {
			if string(r.Data) == "again" {
				return append(records, r)
			}
		}
		return records
	})},
	{"list/one-life", "a new life is listed beside the old one", onList(bothLives)},
	{"list/while-written", "a list is read by offsets", func(f *fake) {
		f.list = func(ctx ctxt, prefix key) (records []entry, err error) {
			for offset := 0; ; {
				page, next, err := f.byOffset(ctx, prefix, offset, 5)
				records = append(records, page...)
				if next == 0 {
					return records, err
				}
				offset = next
			}
		}
	}},
}

// bothLives puts the life before in front of a list with a record that came again.
func bothLives(records []entry) []entry {
	for _, r := range records {
		if string(r.Data) == "again" {
			r.Data = []byte("x")
			return append([]entry{r}, records...)
		}
	}
	return records
}

// onPage makes ListPage alter the page that it returns.
func onPage(alter func(page []entry, limit int) []entry) func(f *fake) {
	return func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			return alter(page, limit), next, err
		}
	}
}

// withOffsets makes cursors plain offsets into the list that list returns.
func withOffsets(list func(f *fake, ctx ctxt, prefix key) ([]entry, error)) func(f *fake) {
	return func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			offset := 0
			if cursor != "" {
				if _, err := fmt.Sscanf(cursor, "at%d", &offset); err != nil || offset < 0 {
					return nil, "", taskstore.ErrInvalidCursor
				}
			}
			defer time.Sleep(50 * time.Microsecond)
			records, err := list(f, ctx, prefix)
			if err != nil || offset >= len(records) {
				return nil, "", err
			}
			if end := offset + limit; end < len(records) {
				return records[offset:end], fmt.Sprint("at", end), nil
			}
			return records[offset:], "", nil
		}
	}
}

func plainList(f *fake, ctx ctxt, prefix key) ([]entry, error) { return f.m.ListByPrefix(ctx, prefix) }

var brokenPages = []breach{
	{"paging/whole", "a full page loses its last record", onPage(func(page []entry, limit int) []entry {
		if len(page) == limit && limit > 1 {
			page = page[:limit-1]
		}
		return page
	})},
	{"paging/whole", "a page has no versions", onPage(func(page []entry, _ int) []entry {
		for i := range page {
			page[i].Version = 1
		}
		return page
	})},
	{"paging/whole paging/many", "the prefix is not looked at", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(ctx, of(prefix.Owner, ""), cursor, limit)
		}
	}},
	{"paging/whole paging/many", "a walk ends at an empty page", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, of(prefix.Owner, ""), cursor, limit)
			page = keep(page, func(r entry) bool { return strings.HasPrefix(r.Key.Task, prefix.Task) })
			if len(page) == 0 {
				next = ""
			}
			return page, next, err
		}
	}},
	{"paging/many", "a walk ends after 1000", func(f *fake) {
		var returned atomic.Int64
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if returned.Add(int64(len(page))) >= 1000 {
				next = ""
			}
			return page, next, err
		}
	}},
	{"paging/none", "no page is an error", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if err == nil && len(page) == 0 {
				err = taskstore.ErrNotFound
			}
			return page, next, err
		}
	}},
	{"paging/none paging/whole paging/bounded", "a walk does not end", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			if cursor == "end" {
				return nil, "end", nil
			}
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if next == "" {
				next = "end"
			}
			return page, next, err
		}
	}},
	{"paging/bounded", "a page has one record more", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(ctx, prefix, cursor, limit+1)
		}
	}},
	{"paging/huge-limit", "a limit has 32 bits", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			return f.m.ListPage(ctx, prefix, cursor, int(int32(limit)))
		}
	}},
	{"paging/huge-limit", "a large limit is an error", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			if limit > 10000 {
				return nil, "", taskstore.ErrInvalidArgument
			}
			return f.m.ListPage(ctx, prefix, cursor, limit)
		}
	}},
	{"paging/limit", "a limit of 0 is the default", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			if limit == 0 {
				limit = 100
			}
			return f.m.ListPage(ctx, prefix, cursor, limit)
		}
	}},
	{"paging/limit", "a limit below 0 is 1", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			if limit < 0 {
				limit = 1
			}
			return f.m.ListPage(ctx, prefix, cursor, limit)
		}
	}},
	{"paging/while-written cursor/other-owner cursor/other-prefix cursor/deleted", "a cursor is an offset", withOffsets(plainList)},

	{"paging/one-life", "a new life is listed beside the old one", onPage(func(page []entry, _ int) []entry { return bothLives(page) })},

	{"all/whole", "a large page loses its last record", onPage(func(page []entry, limit int) []entry {
		if len(page) > 100 {
			page = page[:len(page)-1]
		}
		return page
	})},
	{"all/break", "a walk locks out writers", func(f *fake) {
		var locked atomic.Bool
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			locked.Store(true)
			return f.m.ListPage(ctx, prefix, cursor, limit)
		}
		f.put = func(ctx ctxt, k key, v value) (version, error) {
			if locked.Load() {
				<-ctx.Done()
			}
			return f.m.Put(ctx, k, v)
		}
	}},
	{"all/error", "errors become text", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if err != nil {
				err = errors.New(err.Error())
			}
			return page, next, err
		}
	}},

	{"cursor/malformed", "a malformed cursor starts again", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if errors.Is(err, taskstore.ErrInvalidCursor) {
				return f.m.ListPage(ctx, prefix, "", limit)
			}
			return page, next, err
		}
	}},
	{"cursor/malformed", "a malformed cursor ends the walk", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if errors.Is(err, taskstore.ErrInvalidCursor) {
				err = nil
			}
			return page, next, err
		}
	}},
	{"cursor/altered cursor/malformed", "a malformed cursor is an error of decoding", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			page, next, err := f.m.ListPage(ctx, prefix, cursor, limit)
			if errors.Is(err, taskstore.ErrInvalidCursor) {
				err = errors.New("illegal base64 data at input byte 4")
			}
			return page, next, err
		}
	}},
	{"cursor/altered", "a cursor chooses the list", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			if cursor != "" {
				_, prefix.Task, _ = strings.Cut(cursor, "/")
			}
			page, next, err := f.m.ListPage(ctx, prefix, "", limit)
			if next != "" {
				next = "c/" + prefix.Task
			}
			return page, next, err
		}
	}},
	{"cursor/deleted", "a cursor is the record that it stands on", func(f *fake) {
		f.page = func(ctx ctxt, prefix key, cursor string, limit int) ([]entry, string, error) {
			records, err := f.m.ListByPrefix(ctx, prefix)
			if err != nil {
				return nil, "", err
			}
			if cursor != "" {
				i := slices.IndexFunc(records, func(r entry) bool { return r.Key.Task == cursor })
				if i < 0 {
					return nil, "", taskstore.ErrInvalidCursor
				}
				records = records[i+1:]
			}
			if len(records) <= limit {
				return records, "", nil
			}
			return records[:limit], records[limit-1].Key.Task, nil
		}
	}},
	{"cursor/recreated", "a walk is in the order of the last write", withOffsets(func(f *fake, ctx ctxt, prefix key) ([]entry, error) {
		return f.inOrder(ctx, &f.latest, prefix)
	})},
	{"cursor/recreated", "a walk is in the order of the first write", withOffsets(func(f *fake, ctx ctxt, prefix key) ([]entry, error) {
		return f.inOrder(ctx, &f.first, prefix)
	})},
}
