package taskstore

import (
	"context"
	"strconv"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// read returns what the server shows of a record, which may be past.
func (b *RedisBackend) read(ctx context.Context, key Key) (rec redisRecord, ok bool, err error) {
	recordKey := b.keys.record(key)
	fields, err := b.link.Read(ctx, appendHMGet(nil, recordKey)...)
	if err != nil {
		return redisRecord{}, false, err
	}
	return decodeRecord(key, fields)
}

// judge returns the record if it is not past, by the clock of the server that has it.
func (b *RedisBackend) judge(ctx context.Context, key Key) (rec redisRecord, ok bool, err error) {
	o := b.keys.owner(key.Owner)
	shown, err := redislink.Retry(ctx, b.link, func() (shownRecords, error) {
		from := b.link.Clock.Local()
		// The record alone: while its slot is moved key by key, the index may be elsewhere.
		raw, err := b.link.Eval(ctx, b.readCall(o.task(key.Task), o, []string{key.Task}, 0, 1))
		if err != nil {
			return shownRecords{}, err
		}
		s, err := decodeRead(b.scripts.read, raw, 1)
		if err == nil {
			b.link.Clock.Set(s.at, from, b.link.Clock.Local())
		}
		return s, err
	})
	if err != nil {
		return redisRecord{}, false, err
	}
	return shown.record(0, key)
}

// readCall has these tasks read where the key at is: at most so many, with so many bytes
// of data.
func (b *RedisBackend) readCall(at string, o ownerKeys, tasks []string, room, most int) redislink.Call {
	keys := append(make([]string, 0, 1+len(tasks)), at)
	for _, task := range tasks {
		keys = append(keys, o.task(task))
	}
	return redislink.Call{Script: b.scripts.read, Keys: keys, Args: []string{strconv.Itoa(room), strconv.Itoa(most)}}
}

// shownRecords are what a server shows of records from an instant on.
type shownRecords struct {
	at    time.Time
	items []any // each the fields of a record, the length of its data, or wrongType
}

// wrongType stands for what is no hash.
const wrongType = "WRONGTYPE"

// decodeRead reads the reply of the script that reads n records.
func decodeRead(s *redislink.Script, raw any, n int) (shownRecords, error) {
	items, ok := raw.([]any)
	if !ok || len(items) != n+1 {
		return shownRecords{}, s.Surprise(raw)
	}
	text, _ := items[0].(string)
	us, err := redislink.ParseNumber(text)
	if err != nil {
		return shownRecords{}, s.Surprise(raw)
	}
	for _, item := range items[1:] {
		switch item := item.(type) {
		case []any, int64:
		case string:
			ok = ok && item == wrongType
		default:
			ok = false
		}
	}
	if !ok {
		return shownRecords{}, s.Surprise(raw)
	}
	return shownRecords{at: time.UnixMicro(int64(us)).UTC(), items: items[1:]}, nil
}

// record returns the i-th record, of key. ok is false where there is none, or none that
// is not past.
func (s shownRecords) record(i int, key Key) (rec redisRecord, ok bool, err error) {
	fields, isHash := s.items[i].([]any)
	if !isHash {
		return redisRecord{}, false, &CorruptError{Key: key, Reason: "its key holds a value of another type"}
	}
	rec, ok, err = decodeRecord(key, fields)
	return rec, ok && (rec.expiresAt == 0 || rec.expiresAt >= s.at.UnixMilli()), err
}
