package taskstore

import (
	"context"
	"strconv"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A trip is one round trip of a listing: first the request, then the replies.
type trip struct {
	batch   []place // read the records of these
	unknown []place // return the data lengths of these
	room    int     // read records of unknown up to this many bytes of data,
	most    int     // and up to this many records
	names   int     // read this many places of the index

	shown  shownRecords      // of batch
	newer  map[string]uint64 // the places added since those of batch were read
	places []place           // of the index, with any prefix
	looked int               // the number of places
	newest uint64            // the greatest score before they were read
}

// make makes the trip. It moves the records that it read of unknown to batch, and enters
// the lengths of the others.
//
// The script comes first in the pipeline: its reply has the time by which the records read
// behind it are live or past.
func (t *trip) make(ctx context.Context, l *listing) error {
	var (
		read                   redislink.Raw
		records                = make([]redislink.Fields, len(t.batch))
		newer, newest, members redislink.Scored
	)
	err := l.b.link.Pipeline(ctx, func(p *redislink.Pipeline) {
		if len(l.queue) > 0 {
			tasks := make([]string, len(t.unknown))
			for i, place := range t.unknown {
				tasks[i] = place.task
			}
			read = p.Eval(l.b.readCall(l.owner.index, l.owner, tasks, t.room, t.most))
		}
		args := make([]any, 0, hmgetLength*len(t.batch)) // of all commands
		for i, place := range t.batch {
			args = appendHMGet(args, l.owner.task(place.task))
			records[i] = p.Fields(args[hmgetLength*i : len(args) : len(args)]...)
		}
		if len(l.queue) > 0 {
			newer = l.behind(p, l.queue[0].newest, -1)
		}
		if t.names > 0 {
			newest = p.Scored("zrange", l.owner.index, -1, -1, "withscores")
			members = l.behind(p, l.looked, t.names)
		}
	})
	if err != nil {
		return err
	}
	if len(l.queue) > 0 {
		if err := t.decodeRead(l, read, records); err != nil {
			return err
		}
		if err := t.decodeNewer(newer); err != nil {
			return err
		}
	}
	if t.names > 0 {
		return t.decodeNames(newest, members)
	}
	return nil
}

// behind reads the tasks of the index with a greater score than after, at most n unless n
// is negative.
func (l *listing) behind(p *redislink.Pipeline, after uint64, n int) redislink.Scored {
	return p.Scored("zrangebyscore", l.owner.index, "("+strconv.FormatUint(after, 10), "+inf", "withscores", "limit", 0, n)
}

func (t *trip) decodeRead(l *listing, read redislink.Raw, records []redislink.Fields) error {
	raw, err := read.Result()
	if err != nil {
		return err
	}
	shown, err := decodeRead(l.b.scripts.read, raw, len(t.unknown))
	if err != nil {
		return err
	}
	if t.most > 0 { // batch is empty
		n := 0
		for n < len(shown.items) {
			if _, isLength := shown.items[n].(int64); isLength {
				break
			}
			n++
		}
		t.shown = shownRecords{at: shown.at, items: shown.items[:n]}
		t.batch, t.unknown, shown.items = t.unknown[:n], t.unknown[n:], shown.items[n:]
	} else {
		t.shown = shownRecords{at: shown.at, items: make([]any, len(records))}
		for i, r := range records {
			fields, err := r.Result()
			switch {
			case redislink.Said(err, wrongType):
				t.shown.items[i] = wrongType
			case err != nil:
				return err
			default:
				t.shown.items[i] = fields
			}
		}
	}
	for i, item := range shown.items {
		length, _ := item.(int64) // a value that is not a hash counts as empty
		t.unknown[i].length = int(length)
	}
	return nil
}

func (t *trip) decodeNewer(newer redislink.Scored) error {
	if err := newer.Err(); err != nil {
		return err
	}
	t.newer = make(map[string]uint64, newer.Len())
	for task, score := range newer.All() {
		t.newer[task] = score
	}
	return nil
}

func (t *trip) decodeNames(newest, members redislink.Scored) error {
	if err := newest.Err(); err != nil {
		return err
	}
	if err := members.Err(); err != nil {
		return err
	}
	for _, score := range newest.All() {
		t.newest = score
	}
	t.looked = members.Len()
	for task, score := range members.All() {
		t.places = append(t.places, place{task: task, score: score, newest: t.newest, length: -1})
	}
	return nil
}
