package sqlitestore

import (
	"context"
	"errors"
	"iter"
)

// ownersSQL looks at some owners behind one, in their order, and says which have records.
// It goes from owner to owner along the index of collections, whatever they have. What a
// collection counts and the index of its expired records tell whether it has a live one.
const ownersSQL = `WITH RECURSIVE walk(owner) AS (
		SELECT min(owner) FROM scope WHERE owner > ?1
		UNION ALL SELECT (SELECT min(owner) FROM scope WHERE owner > walk.owner) FROM walk WHERE owner NOTNULL
		LIMIT ?2)
	SELECT owner, EXISTS (SELECT 1 FROM scope s WHERE s.owner = walk.owner
		AND n > (SELECT count(*) FROM record WHERE scope = s.id AND expires > 0 AND expires < ?3))
	FROM walk WHERE owner NOTNULL`

// ownersAtOnce is how many owners one statement looks at.
const ownersAtOnce = 500

// Owners implements [taskstore.OwnerLister], in the order of their bytes. It holds 500 of
// them at a time, and reads no data.
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

// ownersBehind looks at the owners that come next after last.
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
