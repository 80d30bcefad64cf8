package sqlitestore

import (
	"bytes"
	"context"
	"errors"

	"github.com/taskstore/taskstore"
)

// A collection is listed along its index, in the order of creation. A prefix is looked up
// in the index of tasks first, so its cost does not depend on the rest of the collection.
const (
	recordColumns = `SELECT seq, task, version, expires, data FROM record `
	inScope       = `scope = (SELECT id FROM scope WHERE owner = ? AND collection = ?) `
	listSQL       = recordColumns + `WHERE ` + inScope + `AND seq > ? AND (expires = 0 OR expires >= ?) ORDER BY seq LIMIT ?`
	matchSQL      = recordColumns + `WHERE seq IN (
		SELECT seq FROM record INDEXED BY record_key WHERE ` + inScope + `AND task >= ? AND task < ?
			AND seq > ? AND (expires = 0 OR expires >= ?) ORDER BY seq LIMIT ?)
	ORDER BY seq`
)

// cursorKind marks the cursors of this package; a position is a record's seq.
const cursorKind byte = 's'

// ListByPrefix implements [taskstore.StorageBackend]. The list is a snapshot of one instant.
func (b *Backend) ListByPrefix(ctx context.Context, prefix taskstore.Key) ([]taskstore.Record, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, err
	}
	records, _, err := b.scan(ctx, prefix, 0, -1)
	return records, err
}

// ListPage implements [taskstore.Pager]. The cost of a page grows with its length or, if
// there is a prefix, with the number of records that match.
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
	records, last, err := b.scan(ctx, prefix, int64(after), limit)
	if err != nil || last == 0 {
		return records, "", err
	}
	return records, taskstore.EncodeCursor(cursorKind, prefix, uint64(last)), nil
}

// scan returns the records of prefix that were created after the position after, at most
// limit unless limit is negative. If there are more, last is the position of the last one.
func (b *Backend) scan(ctx context.Context, prefix taskstore.Key, after int64, limit int) (records []taskstore.Record, last int64, err error) {
	ask := -1
	if limit >= 0 && limit+1 > 0 {
		ask = limit + 1
	}
	statement, args := b.list, []any{[]byte(prefix.Owner), []byte(prefix.Collection)}
	if prefix.Task != "" {
		statement = b.match
		args = append(args, []byte(prefix.Task), behind(prefix.Task))
	}
	rows, err := statement.QueryContext(ctx, append(args, after, now(), ask)...)
	if err != nil {
		return nil, 0, b.failed(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if len(records) == limit {
			return records, last, nil
		}
		r := taskstore.Record{Key: prefix}
		var task []byte
		var version, expires int64
		if err := rows.Scan(&last, &task, &version, &expires, &r.Data); err != nil {
			return nil, 0, b.failed(ctx, err)
		}
		r.Key.Task, r.Version, r.ExpiresAt = string(task), taskstore.Version(version), expiryTime(expires)
		records = append(records, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, 0, b.failed(ctx, err)
	}
	return records, 0, nil
}

// behind returns a name that sorts after every task that starts with prefix.
func behind(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return bytes.Repeat([]byte{0xff}, taskstore.MaxKeyLength+1)
	}
	end[len(end)-1]++
	return end
}
