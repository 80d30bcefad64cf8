package sqlitestore

import (
	"context"
	"errors"
	"iter"
)

// ownersSQL reads the owners that come after one, in order, and whether each has records.
// It steps from owner to owner along the index of collections, so its cost does not depend
// on the number of records. A collection's count and the index of its expired records tell
// whether it has a live one.
const ownersSQL = `WITH RECURSIVE walk(owner) AS (
		SELECT min(owner) FROM scope WHERE owner > ?1
		UNION ALL SELECT (SELECT min(owner) FROM scope WHERE owner > walk.owner) FROM walk WHERE owner NOTNULL
		LIMIT ?2)
	SELECT owner, EXISTS (SELECT 1 FROM scope s WHERE s.owner = walk.owner
		AND n > (SELECT count(*) FROM record WHERE scope = s.id AND expires > 0 AND expires < ?3))
	FROM walk WHERE owner NOTNULL`

// ownersAtOnce is the number of owners that one statement reads.
const ownersAtOnce = 500

// Owners implements [taskstore.OwnerLister]. Owners come in the order of their bytes. It
// holds 500 of them at a time, and reads no data.
func (b *Backend) Owners(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for last, more := "", true; more; {
			page, err := b.ownersBehind(ctx, last)
			for _, o := range page {
				if err = b.usable(ctx); err != nil {
					break
				}
				if o.live && !yield(o.name, nil) {
					return
				}
				last = o.name
			}
			if err != nil {
				yield("", err)
				return
			}
			more = len(page) == ownersAtOnce
		}
	}
}

// An owner of the table of collections is live if it has a record.
type owner struct {
	name string
	live bool
}

// ownersBehind reads the next owners after last.
func (b *Backend) ownersBehind(ctx context.Context, last string) (page []owner, err error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := b.owners.QueryContext(ctx, []byte(last), ownersAtOnce, now())
	if err != nil {
		return nil, b.failed(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var o owner
		if err := rows.Scan(&o.name, &o.live); err != nil {
			return nil, b.failed(ctx, err)
		}
		page = append(page, o)
	}
	return page, b.failed(ctx, errors.Join(rows.Err(), rows.Close()))
}
