package pgstore

import (
	"context"

	"github.com/taskstore/taskstore"
)

// cursorKind marks the cursors of this package; a position is a seq of the schema.
const cursorKind byte = 'p'

// scanPerPage is the number of records that a page may scan beyond its limit. It bounds the
// work if few of many tasks have the prefix.
const scanPerPage = 2000

// ListByPrefix implements [taskstore.StorageBackend]. It is one statement, so the list is a
// snapshot of one instant. It scans all records of the collection.
func (b *Backend) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, err
	}
	records, _, err := b.list(ctx, prefix, 0, nil, nil)
	return records, err
}

// ListPage implements [taskstore.Pager]. It scans at most limit and 2,000 records, so a page
// may be short if few tasks have the prefix.
func (b *Backend) ListPage(ctx context.Context, prefix taskstore.Key, from string, limit int) ([]taskstore.Record, string, error) {
	if err := b.usable(ctx); err != nil {
		return nil, "", err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, "", err
	}
	if err := taskstore.ValidatePage(limit); err != nil {
		return nil, "", err
	}
	after, err := taskstore.DecodeCursor(cursorKind, prefix, from)
	if err != nil {
		return nil, "", err
	}
	most := min(int64(limit), 1<<32)
	records, last, err := b.list(ctx, prefix, after, encodeInt(most), encodeInt(most+scanPerPage))
	if err != nil || last == 0 {
		return records, "", err
	}
	return records, taskstore.EncodeCursor(cursorKind, prefix, last), nil
}

// list returns the records of prefix after the position after, and the position from which
// to go on, 0 at the end.
func (b *Backend) list(ctx context.Context, prefix taskstore.Key, after uint64, most, scan []byte) (records []taskstore.Record, last uint64, err error) {
	args := arguments{[]byte(prefix.Owner), []byte(prefix.Collection), []byte(prefix.Task), encodeInt(int64(after)), most, scan}
	r, err := b.ask(ctx, b.functions.list, args)
	if err != nil {
		return nil, 0, b.failure("list", err)
	}
	for _, columns := range r {
		if columns[1] == nil {
			return records, uint64(decodeInt(columns[0])), nil
		}
		key := prefix
		key.Task = string(columns[1])
		records = append(records, record(key, columns[2:]))
	}
	return records, 0, nil
}
