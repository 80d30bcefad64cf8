package taskstore

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A trip is one round trip of a listing: what it asks for, then what came.
type trip struct {
	batch   []place // read these
	unknown []place // tell how long the data of these are
	room    int     // of unknown, read as many as have so many bytes of data,
	most    int     // and at most so many
	names   int     // read so many places of the index

	shown  shownRecords      // of batch
	newer  map[string]uint64 // the places that have come since those of batch were read
	places []place           // of the index, whatever their prefix
	looked int               // how many they are
	newest uint64            // the greatest score there was before them
}

// make makes the trip. What it read of unknown is in batch afterwards, and the lengths
// of the others are entered.
//
// The script comes first: by the time that it tells, the records are judged that are
// read behind it.
func (t *trip) make(ctx context.Context, l *listing) error {
	err := t.send(ctx, l, false)
	if redislink.Said(err, "NOSCRIPT") {
		err = t.send(ctx, l, true)
	}
	return err
}

func (t *trip) send(ctx context.Context, l *listing, source bool) error {
	pipe := l.b.link.Client().Pipeline()
	var (
		read            *redis.Cmd
		records         = make([]*redis.SliceCmd, len(t.batch))
		newer           *redis.ZSliceCmd
		newest, members *redis.ZSliceCmd
	)
	queue := func(cmd redis.Cmder) { _ = pipe.Process(ctx, redislink.Once{Cmder: cmd}) }
	if len(l.queue) > 0 {
		tasks := make([]string, len(t.unknown))
		for i, p := range t.unknown {
			tasks[i] = p.task
		}
		call := l.b.readCall(l.owner.index, l.owner, tasks, t.room, t.most)
		read = redis.NewCmd(ctx, call.Command(source)...)
		queue(read)
	}
	args := make([]any, 0, hmgetLength*len(t.batch)) // of all commands
	for i, p := range t.batch {
		args = appendHMGet(args, l.owner.task(p.task))
		records[i] = redis.NewSliceCmd(ctx, args[hmgetLength*i:len(args):len(args)]...)
		queue(records[i])
	}
	if len(l.queue) > 0 {
		newer = l.behind(ctx, l.queue[0].newest, -1)
		queue(newer)
	}
	if t.names > 0 {
		newest = redis.NewZSliceCmd(ctx, "zrange", l.owner.index, -1, -1, "withscores")
		members = l.behind(ctx, l.looked, t.names)
		queue(newest)
		queue(members)
	}
	if cmds, err := pipe.Exec(ctx); err != nil && !repliesSay(cmds, err) {
		return err
	}
	if read != nil {
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

// repliesSay reports whether err is the answer to one of cmds, which is looked at where it
// belongs. What the server says when the client opens a connection, such as that the
// password is wrong, is no command's.
func repliesSay(cmds []redis.Cmder, err error) bool {
	return errors.As(err, new(redis.Error)) && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil })
}

// behind asks for what the index has with a greater score than after, at most n if
// that is not negative.
func (l *listing) behind(ctx context.Context, after uint64, n int) *redis.ZSliceCmd {
	return redis.NewZSliceCmd(ctx, "zrangebyscore", l.owner.index, "("+strconv.FormatUint(after, 10), "+inf", "withscores", "limit", 0, n)
}

func (t *trip) decodeRead(l *listing, read *redis.Cmd, records []*redis.SliceCmd) error {
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
		length, _ := item.(int64) // what is no hash takes no room
		t.unknown[i].length = int(length)
	}
	return nil
}

func (t *trip) decodeNewer(newer *redis.ZSliceCmd) error {
	members, err := newer.Result()
	if err != nil {
		return err
	}
	t.newer = make(map[string]uint64, len(members))
	for _, m := range members {
		t.newer[m.Member.(string)] = uint64(m.Score)
	}
	return nil
}

func (t *trip) decodeNames(newest, members *redis.ZSliceCmd) error {
	if err := newest.Err(); err != nil {
		return err
	}
	list, err := members.Result()
	if err != nil {
		return err
	}
	for _, m := range newest.Val() {
		t.newest = uint64(m.Score)
	}
	t.looked = len(list)
	for _, m := range list {
		task := m.Member.(string) // as go-redis always has it
		t.places = append(t.places, place{task: task, score: uint64(m.Score), newest: t.newest, length: -1})
	}
	return nil
}
