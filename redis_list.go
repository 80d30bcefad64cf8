package taskstore

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A listing walks the index in order of creation, a range of names at a time, and
// reads the records of a range in batches, each in one pipeline; the last batch of a
// range fetches the next range too. No command of it is long, however many tasks
// there are; only what has been created since a range was read is asked for at once.
//
// A task that is deleted and created again after its range was read is at another
// place by now, behind all that was there. So the newest place is read before each
// range, and behind the records what has come after it: a record whose task has
// moved there is left to the range that it moved to.
const (
	maxRange   = 500     // so many names take a third of a millisecond
	firstBatch = 128     // while it has read no record
	minBatch   = 16      // however large they are
	batchBytes = 1 << 20 // what a batch should come to
	pageBytes  = 4 << 20 // a page that has more ends early
)

// ListByPrefix implements [StorageBackend].
func (b *RedisBackend) ListByPrefix(ctx context.Context, prefix Key) ([]Record, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	l := &listing{b: b, prefix: prefix, left: math.MaxInt, room: math.MaxInt, most: maxRange}
	if err := l.complete(ctx); err != nil {
		return nil, err
	}
	return l.records, nil
}

// ListPage implements [Pager]. It looks at no more than limit tasks, and at 500
// at most, so a page is short where the prefix leaves tasks out.
func (b *RedisBackend) ListPage(ctx context.Context, prefix Key, cursor string, limit int) ([]Record, string, error) {
	if err := b.usable(ctx); err != nil {
		return nil, "", err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, "", err
	}
	if err := checkLimit(limit); err != nil {
		return nil, "", err
	}
	after, err := decodeCursor(redisCursor, prefix, cursor)
	if err != nil {
		return nil, "", err
	}
	l := &listing{b: b, prefix: prefix, passed: after, left: min(limit, maxRange), room: pageBytes, most: maxRange}
	if err := l.complete(ctx); err != nil {
		return nil, "", err
	}
	if l.end {
		return l.records, "", nil
	}
	return l.records, encodeCursor(redisCursor, prefix, l.passed), nil
}

// A listing is a walk along an index, and what it has gathered so far.
type listing struct {
	b       *RedisBackend
	prefix  Key
	left    int // how many more tasks to look at
	room    int // how many bytes of data end it early
	most    int // how many records a batch may have
	records []Record
	bytes   int

	ahead  *indexRange // what comes next; nil: not read yet
	passed uint64      // the score of the last task before it
	end    bool        // nothing comes next
	full   bool        // what comes next is left to another listing
}

// An indexRange is a stretch of an owner's index.
type indexRange struct {
	tasks  []string  // those that match the prefix
	scores []float64 // theirs
	looked int       // how many there were to look at
	last   uint64    // the score of the last of them
	end    bool      // nothing was behind it
	newest uint64    // the greatest score there was before
}

// cut cuts r behind its first n tasks. Where it has no more, rest is nil.
func (r indexRange) cut(n int) (batch indexRange, rest *indexRange) {
	if n >= len(r.tasks) {
		return r, nil
	}
	batch, behind := r, r
	batch.tasks, batch.scores = r.tasks[:n], r.scores[:n]
	batch.last, batch.end = uint64(r.scores[n-1]), false
	behind.tasks, behind.scores = r.tasks[n:], r.scores[n:]
	return batch, &behind
}

// complete walks to the end. All steps that succeed in a row are made aside at
// once, and patience begins anew with each that fails.
func (l *listing) complete(ctx context.Context) error {
	for !l.end && !l.full {
		_, err := persist(ctx, l.b, func() (struct{}, error) {
			return within(ctx, func() (struct{}, error) { return struct{}{}, l.walk(ctx) })
		})
		if errors.Is(err, ErrCorrupt) {
			return err // it names the record
		}
		if err != nil {
			return failure("list", l.prefix, err)
		}
	}
	return nil
}

// walk makes steps until one fails, and fails itself only if that is the first.
func (l *listing) walk(ctx context.Context) error {
	for progress := false; !l.end && !l.full; progress = true {
		if err := l.step(ctx); err != nil && progress {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// step reads the first range, or gathers a batch of what is ahead, in one round
// trip, which also reads the range behind it where that was the last. If it fails
// all is as before, but for the size of the batch.
func (l *listing) step(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // nobody waits for it any more
	}
	if l.ahead == nil {
		next, err := l.first(ctx, min(l.left, maxRange))
		if err == nil {
			l.goTo(next)
		}
		return err
	}
	batch, rest := l.ahead.cut(l.batch())
	n := 0
	if rest == nil {
		n = min(l.left, maxRange)
	}
	o := l.b.keys.owner(l.prefix.Owner)
	earliest := l.b.earliest()
	shown, next, err := l.read(ctx, o, batch, n)
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		// The client waits so long for all of them together: fewer may come in time.
		l.most = max(len(batch.tasks)/2, 1)
		return err
	case err != nil:
		return err
	}
	if err := l.settle(ctx, o, batch, shown, earliest); err != nil {
		return err
	}
	l.gather(ctx, o, shown)
	l.most = min(l.most+l.most/8+1, maxRange) // it may only have been the server that was slow
	l.passed, l.end = batch.last, batch.end
	l.full = l.bytes > l.room || rest == nil && n == 0
	if rest != nil {
		l.ahead = rest
	} else {
		l.goTo(next)
	}
	return nil
}

func (l *listing) goTo(next indexRange) {
	l.ahead = &next
	l.left -= next.looked
	l.end = l.end || next.end && len(next.tasks) == 0
}

// batch returns how many records to read at once, by the size of those before.
func (l *listing) batch() int {
	n := firstBatch
	if len(l.records) > 0 {
		n = max(batchBytes/max(l.bytes/len(l.records), 1), minBatch)
	}
	return min(n, l.most)
}

// first reads the range of n behind the last task.
func (l *listing) first(ctx context.Context, n int) (indexRange, error) {
	pipe := l.b.client.Pipeline()
	asked := l.askRange(ctx, pipe, l.passed, n)
	if _, err := pipe.Exec(ctx); err != nil {
		return indexRange{}, err
	}
	return l.decodeRange(asked), nil
}

// A shownRecord is what the server shows of a task in the index.
type shownRecord struct {
	redisRecord
	ok    bool // it shows a record
	moved bool // the task is not at its place in the index any more
}

// read asks in one pipeline for the records of r and, if n is not 0, for the
// range of n behind it.
func (l *listing) read(ctx context.Context, o ownerKeys, r indexRange, n int) (shown []shownRecord, next indexRange, err error) {
	pipe := l.b.client.Pipeline()
	records := make([]*redis.SliceCmd, len(r.tasks))
	args := make([]any, 0, hmgetLength*len(r.tasks)) // of all commands
	for i, task := range r.tasks {
		args = appendHMGet(args, o.task(task))
		records[i] = redis.NewSliceCmd(ctx, slices.Clip(args[hmgetLength*i:])...)
		_ = pipe.Process(ctx, once{records[i]})
	}
	moved := l.askBehind(ctx, pipe, r.newest, -1)
	var asked rangeCommand
	if n > 0 && !r.end {
		asked = l.askRange(ctx, pipe, r.last, n)
	}
	if _, err := pipe.Exec(ctx); err != nil && !serverSaid(err, "WRONGTYPE") {
		return nil, indexRange{}, err // WRONGTYPE is said of one command, which is looked at below
	}
	if err := moved.Err(); err != nil {
		return nil, indexRange{}, err
	}
	newer := make(map[string]float64, len(moved.Val()))
	for _, m := range moved.Val() {
		newer[m.Member.(string)] = m.Score
	}
	shown = make([]shownRecord, len(r.tasks))
	for i, task := range r.tasks {
		key := Key{Owner: l.prefix.Owner, Task: task}
		fields, err := records[i].Result()
		if err != nil {
			return nil, indexRange{}, failure("list", key, err)
		}
		if shown[i].redisRecord, shown[i].ok, err = decodeRecord(key, fields); err != nil {
			return nil, indexRange{}, err
		}
		shown[i].Key = key
		score, isNewer := newer[task]
		shown[i].moved = isNewer && score != r.scores[i]
	}
	if asked.members != nil {
		next, err = l.decodeRange(asked), asked.members.Err()
	}
	return shown, next, err
}

// settle looks again at the records about which there is doubt, see doubtful, and
// takes away those that are past.
func (l *listing) settle(ctx context.Context, o ownerKeys, ofRange indexRange, shown []shownRecord, earliest int64) error {
	doubts := indexRange{newest: ofRange.newest}
	var at []int
	for i, r := range shown {
		if r.ok && doubtful(r.expiresAt, earliest) {
			doubts.tasks = append(doubts.tasks, r.Key.Task)
			doubts.scores = append(doubts.scores, ofRange.scores[i])
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	now, err := l.b.readClock(ctx, o.index)
	if err != nil {
		return err
	}
	again, _, err := l.read(ctx, o, doubts, 0)
	if err != nil {
		return err
	}
	for j, i := range at {
		shown[i] = again[j]
		shown[i].ok = again[j].ok && !doubtful(again[j].expiresAt, now.UnixMilli())
	}
	return nil
}

// gather adds the records that there are, and has the index repaired where it
// named others.
func (l *listing) gather(ctx context.Context, o ownerKeys, shown []shownRecord) {
	var gone []string
	l.records = slices.Grow(l.records, len(shown))
	for _, r := range shown {
		if !r.ok {
			gone = append(gone, r.Key.Task)
			continue
		}
		if r.moved {
			continue
		}
		l.records = append(l.records, r.Record)
		l.bytes += len(r.Data)
	}
	l.b.repair(ctx, o, gone)
}

// A rangeCommand asks for a range of n, and before it for the newest place.
type rangeCommand struct {
	newest, members *redis.ZSliceCmd
	n               int
}

func (l *listing) askRange(ctx context.Context, pipe redis.Pipeliner, after uint64, n int) rangeCommand {
	newest := redis.NewZSliceCmd(ctx, "zrange", l.b.keys.owner(l.prefix.Owner).index, -1, -1, "withscores")
	_ = pipe.Process(ctx, once{newest})
	return rangeCommand{newest: newest, members: l.askBehind(ctx, pipe, after, n), n: n}
}

// askBehind asks for what has a greater score than after, at most n if that is not
// negative.
func (l *listing) askBehind(ctx context.Context, pipe redis.Pipeliner, after uint64, n int) *redis.ZSliceCmd {
	command := redis.NewZSliceCmd(ctx, "zrangebyscore", l.b.keys.owner(l.prefix.Owner).index,
		"("+strconv.FormatUint(after, 10), "+inf", "withscores", "limit", 0, n)
	_ = pipe.Process(ctx, once{command})
	return command
}

func (l *listing) decodeRange(c rangeCommand) indexRange {
	members := c.members.Val()
	r := indexRange{looked: len(members), end: len(members) < c.n}
	for _, m := range c.newest.Val() {
		r.newest = uint64(m.Score)
	}
	for _, m := range members {
		task := m.Member.(string) // as go-redis always has it
		if strings.HasPrefix(task, l.prefix.Task) {
			r.tasks = append(r.tasks, task)
			r.scores = append(r.scores, m.Score)
		}
		r.last = uint64(m.Score)
	}
	return r
}

// maxRepair keeps the script short; the next listing goes on.
const maxRepair = 128

// repair removes index entries of tasks that seem to be gone; the script looks
// again itself, for one of them may just have been created anew. Nothing that can
// be observed depends on it, so it may fail.
func (b *RedisBackend) repair(ctx context.Context, o ownerKeys, gone []string) {
	if len(gone) == 0 {
		return
	}
	gone = gone[:min(len(gone), maxRepair)]
	keys := []string{o.index, o.expiry}
	for _, task := range gone {
		keys = append(keys, o.task(task))
	}
	args := scriptArgs(len(gone), keys...)
	for _, task := range gone {
		args = append(args, task)
	}
	_, _ = b.run(ctx, b.scripts.repair, args)
}
