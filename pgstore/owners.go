package pgstore

import (
	"context"
	"encoding/binary"
	"iter"
)

// ownersAtOnce is how many owners one statement looks at.
const ownersAtOnce = 500

// Owners implements [taskstore.OwnerLister], in the order of their bytes. It holds 500 of
// them at a time, which are one round trip, and reads no data.
func (b *Backend) Owners(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		most := binary.BigEndian.AppendUint32(nil, ownersAtOnce)
		for last, more := []byte{}, true; more; {
			page, err := b.ownersBehind(ctx, last, most)
			for _, columns := range page {
				if err = b.usable(ctx); err != nil {
					break
				}
				last = columns[0]
				if live := decodeBool(columns[1]); live && !yield(string(last), nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
				return
			}
			more = len(page) == ownersAtOnce
		}
	}
}

// ownersBehind looks at the owners that come next after last.
func (b *Backend) ownersBehind(ctx context.Context, last, most []byte) (rows, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	page, err := b.ask(ctx, b.functions.owners, arguments{last, most})
	if err != nil {
		return nil, b.failure("list owners", err)
	}
	return page, nil
}
