package pgstore

import (
	"context"
	"encoding/binary"
	"iter"
)

// ownersAtOnce is the number of owners that one statement reads.
const ownersAtOnce = 500

// Owners implements [taskstore.OwnerLister]. Owners come in the order of their bytes. It
// reads 500 of them per round trip, holds as many, and reads no data.
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

// ownersBehind reads the next owners after last.
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
