package taskstore

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A listing walks the index in order of creation. One round trip, a pipeline, reads the
// records of a batch of tasks, the data lengths of the next ones, and further tasks of the
// index. So each command is short, however many tasks there are, and the lengths decide
// the size of a batch; only the first batch is sized by the server, while it reads it.
//
// A task that is deleted and created again after the walk read its place has moved to a
// new place behind all earlier ones. So the walk reads the newest place before each range
// of the index, and the later places after the records: it skips a record whose task has
// moved, and reads it at the new place if it gets there.
const (
	maxRange   = 500     // tasks; the server takes a third of a millisecond for them
	firstBatch = 128     // records, while their lengths are not known
	batchBytes = 1 << 20 // the most bytes of a batch, unless a single record has more
	pageBytes  = 4 << 20 // the same for a page
)

// ListByPrefix implements [StorageBackend].
func (b *RedisBackend) ListByPrefix(ctx context.Context, prefix Key) ([]Record, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, err
	}
	l := b.list(prefix, 0, math.MaxInt, math.MaxInt)
	if err := l.complete(ctx); err != nil {
		return nil, err
	}
	return l.lives(), damage(l.damaged)
}

// ListPage implements [Pager]. It looks at no more than limit tasks, and at 500 at
// most, so a page is short if the prefix leaves tasks out. It holds at most 4 MiB of
// data, unless a single record has more.
func (b *RedisBackend) ListPage(ctx context.Context, prefix Key, cursor string, limit int) ([]Record, string, error) {
	if err := b.usable(ctx); err != nil {
		return nil, "", err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, "", err
	}
	if err := ValidatePage(limit); err != nil {
		return nil, "", err
	}
	after, err := DecodeCursor(redisCursor, prefix, cursor)
	if err != nil {
		return nil, "", err
	}
	l := b.list(prefix, after, min(limit, maxRange), pageBytes)
	if err := l.complete(ctx); err != nil {
		return nil, "", err
	}
	if l.atEnd() {
		return l.lives(), "", damage(l.damaged)
	}
	return l.records, EncodeCursor(redisCursor, prefix, l.passed), damage(l.damaged)
}

// damage joins the errors of the records that cannot be read.
func damage(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// A listing is a walk along an index, with the records gathered so far.
type listing struct {
	b      *RedisBackend
	prefix Key
	owner  scopeKeys
	left   int // how many more tasks to look at
	room   int // how many bytes of data to gather, the first record's in any case
	most   int // how many records a batch may have

	queue  []place // the places to read next
	looked uint64  // the score of the last task that was looked at
	last   bool    // the index ended there
	passed uint64  // the score of the last task that is done
	newest uint64  // the greatest score before the first place was read; 0: not read yet

	records []Record
	scores  []uint64 // of records
	bytes   int
	late    []lateRecord
	damaged []error // one for each record that cannot be read
}

// A place is the position of a task in the index.
type place struct {
	task   string
	score  uint64
	newest uint64 // the greatest score in the index before the place was read
	length int    // of the task's data, -1 while that is not known
}

// A lateRecord is the record of a task that has moved behind all that the walk looks at.
type lateRecord struct {
	Record
	score uint64
}

// list returns a listing of up to left tasks behind the score after.
func (b *RedisBackend) list(prefix Key, after uint64, left, room int) *listing {
	return &listing{
		b: b, prefix: prefix, owner: b.keys.scope(scopeOf(prefix)), left: left, room: room, most: maxRange, looked: after, passed: after,
	}
}

// atEnd reports whether the walk has reached the end of the index.
func (l *listing) atEnd() bool { return len(l.queue) == 0 && l.last }

// done reports whether the listing is complete.
func (l *listing) done() bool {
	if len(l.queue) == 0 {
		return l.last || l.left == 0
	}
	return l.bytes > 0 && l.bytes+max(l.queue[0].length, 0) > l.room
}

// complete walks to the end. Steps that succeed one after the other run in one background
// call, and each failed step starts a new time limit for retries.
func (l *listing) complete(ctx context.Context) error {
	for !l.done() {
		_, err := redislink.Retry(ctx, l.b.link, func() (struct{}, error) {
			return redislink.Detach(ctx, func() (struct{}, error) { return struct{}{}, l.walk(ctx) })
		})
		if redislink.Said(err, wrongType) { // of the index: decoding reports records of another type
			return &CorruptError{
				Key:    Key{Owner: l.prefix.Owner, Collection: l.prefix.Collection},
				Reason: "the index of the owner's records, at the key " + l.b.keys.prefix + ":idx:{<owner>}, is not a sorted set, so they cannot be listed; remove that key",
				Err:    redislink.Redact(err),
			}
		}
		if err != nil {
			return failure("list", l.prefix, err)
		}
	}
	return nil
}

// walk makes steps until one fails. It returns an error only if that was the first.
func (l *listing) walk(ctx context.Context) error {
	for progress := false; !l.done(); progress = true {
		if err := l.step(ctx); err != nil && progress {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// step makes one round trip. A failed step changes only the size of the next batch.
func (l *listing) step(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // the caller has stopped waiting
	}
	t := l.nextTrip()
	err := t.make(ctx, l)
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		// The client's timeout covers the whole batch: a smaller one may come in time.
		if asked := len(t.batch) + min(t.most, len(t.unknown)); asked > 1 {
			l.most = asked / 2
		}
		return err
	case err != nil:
		return err
	}
	l.most = min(l.most+l.most/8+1, maxRange) // the server may only have been slow for a while
	l.queue = l.queue[len(t.batch):]
	if t.names > 0 {
		l.extend(t)
	}
	l.gather(ctx, t)
	if len(l.queue) == 0 {
		l.passed = l.looked
	}
	return nil
}

// nextTrip plans the next round trip.
func (l *listing) nextTrip() *trip {
	t := &trip{}
	if room := min(batchBytes, l.room-l.bytes); len(l.queue) > 0 && l.queue[0].length < 0 {
		t.unknown, t.room, t.most = l.queue[:min(len(l.queue), maxRange)], room, min(firstBatch, l.most)
	} else {
		n := 0
		for n < len(l.queue) && n < l.most && l.queue[n].length >= 0 && (n == 0 || l.queue[n].length <= room) {
			room -= l.queue[n].length
			n++
		}
		t.batch = l.queue[:n]
		behind := l.queue[n:]
		if known := slices.IndexFunc(behind, func(p place) bool { return p.length < 0 }); known >= 0 {
			t.unknown = behind[known:min(len(behind), known+maxRange)]
		}
	}
	if !l.last && len(l.queue) <= maxRange {
		t.names = min(l.left, maxRange)
	}
	return t
}

// extend appends the places that the trip found behind the last task.
func (l *listing) extend(t *trip) {
	l.left -= t.looked
	if l.newest == 0 {
		l.newest = t.newest
	}
	for _, p := range t.places {
		l.looked = p.score
		if strings.HasPrefix(p.task, l.prefix.Task) {
			l.queue = append(l.queue, p)
		}
	}
	l.last = t.looked < t.names
}

// gather adds the records of the trip, and repairs the index if it named records that
// do not exist.
func (l *listing) gather(ctx context.Context, t *trip) {
	var gone []string
	l.records = slices.Grow(l.records, len(t.batch))
	for i, p := range t.batch {
		l.passed = p.score
		score, moved := t.newer[p.task]
		moved = moved && score != p.score
		if moved && (score <= l.looked || !l.last) {
			continue // the walk gets there
		}
		rec, ok, err := t.shown.record(i, Key{Owner: l.prefix.Owner, Collection: l.prefix.Collection, Task: p.task})
		switch {
		case err != nil:
			l.damaged = append(l.damaged, err)
			continue
		case !ok:
			gone = append(gone, p.task)
			continue
		case moved:
			l.late = append(l.late, lateRecord{rec.Record, score})
		default:
			l.records, l.scores = append(l.records, rec.Record), append(l.scores, p.score)
		}
		l.bytes += len(rec.Data)
	}
	l.b.repair(ctx, l.owner, gone)
}

// lives returns the records at the end of the walk, with the late ones last and each
// task once: of two lives of a task, the later. Only a record created since the walk
// began can be a second life.
func (l *listing) lives() []Record {
	slices.SortFunc(l.late, func(a, b lateRecord) int { return cmp.Compare(a.score, b.score) })
	for _, r := range l.late {
		l.records, l.scores = append(l.records, r.Record), append(l.scores, r.score)
	}
	latest := make(map[string]int)
	for i := len(l.records) - 1; i >= 0 && l.scores[i] > l.newest; i-- {
		if _, ok := latest[l.records[i].Key.Task]; !ok {
			latest[l.records[i].Key.Task] = i
		}
	}
	if len(latest) == 0 {
		return l.records
	}
	kept := l.records[:0]
	for i, r := range l.records {
		if at, ok := latest[r.Key.Task]; !ok || at == i {
			kept = append(kept, r)
		}
	}
	clear(l.records[len(kept):])
	return kept
}
