package backendtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
)

// A batching is a store whose backend is a Batcher.
type batching struct {
	*store
	batcher taskstore.Batcher
}

func (s *store) batching() batching {
	s.Helper()
	return batching{s, power[taskstore.Batcher](s, "Batcher")}
}

func (t *trial) batching() batching {
	t.Helper()
	return t.open().batching()
}

// batch makes a batch with the rule's ctx.
func (s batching) batch(writes ...taskstore.Write) error { return s.batcher.PutBatch(s.ctx, writes) }

func (s batching) mustBatch(writes ...taskstore.Write) {
	s.Helper()
	if err := s.batch(writes...); err != nil {
		s.Fatalf("PutBatch: %v", err)
	}
}

// at is a write of a record that has that version.
func at(version taskstore.Version, key taskstore.Key, v taskstore.Value) taskstore.Write {
	return taskstore.Write{Key: key, Value: v, Expected: version}
}

// whatever is a write at any version.
func whatever(key taskstore.Key, v taskstore.Value) taskstore.Write {
	return at(taskstore.AnyVersion, key, v)
}

// wantRefused checks that a batch was refused for the write of that index, and returns
// the error of that write.
func (s *store) wantRefused(what string, err error, index int) error {
	s.Helper()
	var refused *taskstore.BatchError
	switch {
	case !errors.As(err, &refused):
		s.Errorf("%s: error %v, want a *BatchError", what, err)
		return err
	case refused.Index != index:
		s.Errorf("%s: refused for write %d, want %d: %v", what, refused.Index, index, err)
	case !errors.Is(err, errors.Unwrap(refused)):
		s.Errorf("%s: error %v does not match the error in its *BatchError", what, err)
	}
	return errors.Unwrap(refused)
}

// twenty returns keys of one owner, in several collections.
func twenty() (keys []taskstore.Key) {
	owner := newOwner()
	for i := range 20 {
		keys = append(keys, in(owner, []string{"", "one", "other"}[i%3], fmt.Sprint("task-", i)))
	}
	return keys
}

var batchRules = []rule{
	{
		name: "batch/all",
		text: "PutBatch makes each of its writes as PutIfVersion would: a create, an update, and with AnyVersion as Put would.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			hour := s.now().Add(time.Hour).Truncate(time.Millisecond)
			for _, key := range k[1:4] {
				s.mustPut(key, text("before"))
			}
			s.mustPut(k[2], text("before"))
			s.mustBatch(at(0, k[0], text("created")), at(1, k[1], until("updated", hour)), at(2, k[2], text("updated")),
				whatever(k[3], text("put")), whatever(k[4], text("put")), at(0, k[5], taskstore.Value{}))
			s.wantRecord(k[0], 1, text("created"))
			s.wantRecord(k[1], 2, until("updated", hour))
			s.wantRecord(k[2], 3, text("updated"))
			s.wantRecord(k[3], 2, text("put"))
			s.wantRecord(k[4], 1, text("put"))
			s.wantRecord(k[5], 1, taskstore.Value{})
			s.mustBatch(at(2, k[1], text("without expiry")))
			s.wantRecord(k[1], 3, text("without expiry"))
			s.wantVersion("a Put after the batch", s.mustPut(k[0], text("x")), 2)
			s.wantVersion("a PutIfVersion after the batch", s.mustCAS(k[2], text("x"), 3), 4)
		},
	},
	{
		name: "batch/none",
		text: "If one write of a batch is refused, the records stay as they are: no create, update, delete or move, and no change of an expiry.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			hour := s.now().Add(time.Hour).Truncate(time.Millisecond)
			past := s.now().Add(-2 * time.Second)
			s.mustPut(k[3], text("before"))
			s.mustPut(k[6], until("before", hour))
			s.mustPut(k[9], text("before"))
			good := []taskstore.Write{at(0, k[0], text("x")), at(1, k[6], text("x")), whatever(k[9], until("", past)), whatever(k[1], text("x"))}
			for i := range len(good) + 1 {
				writes := append(append(append([]taskstore.Write{}, good[:i]...), at(7, k[3], text("x"))), good[i:]...)
				if i == len(good)/2 {
					writes[i] = at(1, k[12], text("x"))
				}
				s.wantError("PutBatch", s.batch(writes...), taskstore.ErrVersionConflict)
				s.wantNone(k[0])
				s.wantNone(k[1])
				s.wantNone(k[12])
				s.wantRecord(k[3], 1, text("before"))
				s.wantRecord(k[6], 1, until("before", hour))
				s.wantRecord(k[9], 1, text("before"))
				s.wantTasks("list", s.mustList(of(k[0].Owner, "")), k[0].Owner, k[3].Task, k[6].Task, k[9].Task)
				s.wantIn("list", s.mustList(in(k[0].Owner, "one", "")), k[1])
			}
		},
	},
	{
		name: "batch/arguments",
		text: "An error that matches ErrInvalidArgument refuses a batch of no writes, of more than MaxBatch, of more than one owner, with a record twice, or whose first write has AnyVersion.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			var many []taskstore.Write
			for _, key := range k[:taskstore.MaxBatch+1] {
				many = append(many, at(0, key, text("x")))
			}
			x := text("x")
			for what, writes := range map[string][]taskstore.Write{
				"no writes":                        {},
				"more than MaxBatch writes":        many,
				"two owners":                       {at(0, k[0], x), at(0, newKey(), x)},
				"a record twice":                   {at(0, k[0], x), at(0, k[1], x), at(0, k[0], x)},
				"a record twice, once as it was":   {at(0, k[0], x), at(1, k[0], x)},
				"a record twice, once whatever":    {at(0, k[0], x), at(0, k[1], x), whatever(k[1], x)},
				"AnyVersion first":                 {whatever(k[0], x), at(0, k[1], x)},
				"AnyVersion first and alone":       {whatever(k[0], x)},
				"two owners, each by itself right": {at(0, k[0], x), whatever(newKey(), x)},
			} {
				s.wantError("PutBatch of "+what, s.batch(writes...), taskstore.ErrInvalidArgument)
			}
			s.wantError("PutBatch of nil", s.batcher.PutBatch(t.ctx, nil), taskstore.ErrInvalidArgument)
			for _, key := range k {
				s.wantNone(key)
			}
		},
	},
	{
		name: "batch/most",
		text: "A batch has up to MaxBatch writes, of any collections.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()[:taskstore.MaxBatch]
			for v := range taskstore.Version(3) {
				var writes []taskstore.Write
				for _, key := range k {
					writes = append(writes, at(v, key, text(fmt.Sprint(key.Task, v))))
				}
				s.mustBatch(writes...)
				for _, key := range k {
					s.wantRecord(key, v+1, text(fmt.Sprint(key.Task, v)))
				}
			}
			s.mustBatch(at(3, k[0], text("alone")))
			s.wantRecord(k[0], 4, text("alone"))
		},
	},
	{
		name: "batch/same-task",
		text: "One task in several collections is several records, also in one batch.",
		check: func(t *trial) {
			s := t.batching()
			owner := newOwner()
			one, other, third := of(owner, "task"), in(owner, "one", "task"), in(owner, "other", "task")
			s.mustPut(other, text("x"))
			s.mustBatch(at(0, one, text("1")), at(1, other, text("2")), whatever(third, text("3")))
			s.wantRecord(one, 1, text("1"))
			s.wantRecord(other, 2, text("2"))
			s.wantRecord(third, 1, text("3"))
		},
	},
	{
		name: "batch/order",
		text: "A batch makes its writes in their order, so the records that it creates are listed in that order.",
		check: func(t *trial) {
			s := t.batching()
			owner := newOwner()
			s.mustPut(of(owner, "first"), text("x"))
			x := text("x")
			s.mustBatch(at(0, of(owner, "m"), x), whatever(of(owner, "z"), x), at(0, of(owner, "a"), x), at(1, of(owner, "first"), x), at(0, of(owner, "b"), x))
			s.mustBatch(at(0, of(owner, "0"), x), at(0, in(owner, "one", "1"), x), at(0, of(owner, "9"), x), at(0, in(owner, "one", "0"), x))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "first", "m", "z", "a", "b", "0", "9")
			s.wantIn("list", s.mustList(in(owner, "one", "")), in(owner, "one", ""), "1", "0")
		},
	},
	{
		name: "batch/past",
		text: "A write of a batch whose ExpiresAt is past removes the record, and one of a missing record leaves it missing.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			gone := until("x", s.now().Add(-2*time.Second))
			for _, key := range []taskstore.Key{k[0], k[1], k[2]} {
				s.mustPut(key, text("x"))
			}
			s.mustPut(k[2], until("x", s.now().Add(time.Hour)))
			s.mustBatch(at(1, k[0], gone), whatever(k[1], gone), at(2, k[2], gone), at(0, k[3], gone), whatever(k[4], gone), at(0, k[5], text("stays")))
			for _, key := range k[:5] {
				s.wantNone(key)
			}
			s.mustBatch(at(0, k[6], gone), at(0, k[0], text("again")))
			s.wantRecord(k[0], 1, text("again"))
			inner := s.wantRefused("a removal of another version", s.batch(at(1, k[0], gone), at(7, k[5], gone)), 1)
			s.wantConflict(inner, k[5], 7, 1)
			s.wantTasks("list", s.mustList(of(k[0].Owner, "")), k[0].Owner, k[0].Task)
			s.wantIn("list", s.mustList(in(k[0].Owner, "other", "")), k[5], k[5].Task)
			s.wantIn("list", s.mustList(in(k[0].Owner, "one", "")), k[1])
		},
	},
	{
		name: "batch/expiry",
		text: "A record that a batch writes expires in its time, and one that has expired does not exist for a batch.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			soon := s.now().Add(100 * time.Millisecond)
			hour := soon.Add(time.Hour).Truncate(time.Millisecond)
			s.mustBatch(at(0, k[0], until("x", soon)), at(0, k[1], until("x", soon)), at(0, k[2], until("x", soon)), at(0, k[3], until("stays", hour)))
			for _, key := range k[:3] {
				s.awaitGone(key)
			}
			if now := s.now(); now.Before(soon.Add(-clockError)) {
				t.Errorf("the records are gone %v before their expiry", soon.Sub(now))
			}
			inner := s.wantRefused("an update of an expired record", s.batch(at(1, k[3], text("x")), at(1, k[0], text("x"))), 1)
			s.wantConflict(inner, k[0], 1, 0)
			s.mustBatch(at(0, k[0], text("new")), whatever(k[1], until("new", hour)), at(1, k[3], text("stays")))
			s.wantRecord(k[0], 1, text("new"))
			s.wantRecord(k[1], 1, until("new", hour))
			s.wantNone(k[2])
			s.wantRecord(k[3], 2, text("stays"))
			s.wantTasks("list", s.mustList(of(k[0].Owner, "")), k[0].Owner, k[3].Task, k[0].Task)
		},
	},
	{
		name: "batch/copied-in",
		text: "PutBatch copies Data on the way in: a record does not change when the caller's slice does, and records written from one slice are independent.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			data := []byte("written")
			writes := []taskstore.Write{at(0, k[0], taskstore.Value{Data: data}), whatever(k[3], taskstore.Value{Data: data})}
			s.mustBatch(writes...)
			copy(data, "XXXXXXX")
			writes[0].Key, writes[1].Data = k[6], nil
			s.wantRecord(k[0], 1, text("written"))
			s.wantRecord(k[3], 1, text("written"))
			copy(s.mustGet(k[0]).Data, "XXXXXXX")
			s.wantRecord(k[0], 1, text("written"))
			s.wantRecord(k[3], 1, text("written"))
		},
	},
	{
		name: "batch/conflict",
		text: "A batch is refused with a *BatchError for the first of its writes, in order, that PutIfVersion would refuse; it unwraps to that one's *VersionConflictError.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			s.mustPut(k[0], text("x"))
			s.mustPut(k[1], text("x"))
			x := text("x")
			for _, c := range []struct {
				writes   []taskstore.Write
				index    int
				expected taskstore.Version
				actual   taskstore.Version
			}{
				{[]taskstore.Write{at(0, k[0], x)}, 0, 0, 1},
				{[]taskstore.Write{at(2, k[0], x), at(0, k[1], x)}, 0, 2, 1},
				{[]taskstore.Write{at(1, k[0], x), at(0, k[1], x), at(3, k[2], x)}, 1, 0, 1},
				{[]taskstore.Write{at(1, k[0], x), at(1, k[1], x), at(3, k[2], x), at(4, k[3], x)}, 2, 3, 0},
				{[]taskstore.Write{at(0, k[2], x), whatever(k[0], x), at(1, k[3], x), at(9, k[1], x)}, 2, 1, 0},
				{[]taskstore.Write{at(1, k[0], x), at(taskstore.AnyVersion-1, k[1], x)}, 1, taskstore.AnyVersion - 1, 1},
			} {
				err := s.batch(c.writes...)
				inner := s.wantRefused("PutBatch", err, c.index)
				s.wantConflict(inner, c.writes[c.index].Key, c.expected, c.actual)
				s.wantConflict(err, c.writes[c.index].Key, c.expected, c.actual)
			}
			s.wantRecord(k[0], 1, x)
			s.wantRecord(k[1], 1, x)
		},
	},
	{
		name: "batch/invalid",
		text: "A batch with an invalid key or an ExpiresAt out of range is refused with a *BatchError for that write, which unwraps to the error of the write alone.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			x := text("x")
			for _, bad := range []taskstore.Key{of(k[0].Owner, ""), of(k[0].Owner, padded("t", taskstore.MaxKeyLength+1)), in(k[0].Owner, padded("c", taskstore.MaxKeyLength+1), "t")} {
				err := s.batch(at(0, k[0], x), whatever(k[1], x), at(0, bad, x), at(0, bad, x))
				s.wantError("PutBatch with an invalid key", err, taskstore.ErrInvalidKey)
				var keyErr *taskstore.KeyError
				if !errors.As(s.wantRefused("PutBatch with an invalid key", err, 2), &keyErr) || keyErr.Key != bad {
					t.Errorf("error %v, want a *KeyError about the bad key", err)
				}
			}
			for _, bad := range []time.Time{tooEarly, lastOf.Add(time.Millisecond)} {
				err := s.batch(at(0, k[0], x), whatever(k[1], until("x", bad)))
				s.wantError("PutBatch with an ExpiresAt out of range", s.wantRefused("PutBatch with an ExpiresAt out of range", err, 1), taskstore.ErrInvalidArgument)
			}
			s.wantNone(k[0])
			s.wantNone(k[1])
		},
	},
	{
		name: "batch/contexts",
		text: "A ctx that is done gives an error that matches ctx.Err(), and the batch changes no record.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			s.mustPut(k[0], text("x"))
			past, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
			defer cancel()
			for _, ctx := range []context.Context{done(t.ctx), past} {
				err := s.batcher.PutBatch(ctx, []taskstore.Write{at(1, k[0], text("y")), at(0, k[1], text("y"))})
				s.wantError("PutBatch", err, ctx.Err())
			}
			s.wantRecord(k[0], 1, text("x"))
			s.wantNone(k[1])
		},
	},
	{
		name: "batch/hints",
		text: "Each write of a batch is hinted as one by itself.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			past := until("x", s.now().Add(-2*time.Second))
			s.mustPut(k[3], text("x"))
			s.mustPut(k[6], text("x"))
			watches := map[string]*watching{}
			for _, collection := range []string{"", "one"} {
				watches[collection] = s.watch(in(k[0].Owner, collection, ""))
				defer watches[collection].stop()
			}
			narrow := s.watch(in(k[0].Owner, k[1].Collection, k[1].Task))
			defer narrow.stop()
			hinted := func(what string, w *watching, key taskstore.Key, version taskstore.Version) {
				w.await(what, 1, func(c taskstore.Change) bool { return c.Resync || c.Key == key && c.Version == version })
			}
			s.mustBatch(at(1, k[3], text("y")), at(0, k[0], text("y")), at(1, k[6], past), at(0, k[1], text("y")), whatever(k[4], text("y")))
			hinted("an update is hinted", watches[""], k[3], 2)
			hinted("a create is hinted", watches[""], k[0], 1)
			hinted("a removal is hinted", watches[""], k[6], 0)
			hinted("a create in a collection is hinted", watches["one"], k[1], 1)
			hinted("a create of AnyVersion is hinted", watches["one"], k[4], 1)
			hinted("a create is hinted to a watch of its prefix", narrow, k[1], 1)
		},
	},
	{
		name: "batch/refused-hints",
		text: "A refused batch sends no hint.",
		check: func(t *trial) {
			s := t.batching()
			k := twenty()
			s.mustPut(k[0], text("x"))
			w := s.watch(of(k[0].Owner, ""))
			defer w.stop()
			s.wantRefused("PutBatch", s.batch(at(1, k[0], text("y")), whatever(k[3], text("y")), at(4, k[6], text("y"))), 2)
			// Hints of the batch arrive before the hint of this write.
			w.wantHint("Put", k[9], func() taskstore.Version { return s.mustPut(k[9], text("x")) })
			for _, c := range w.seen() {
				if !c.Resync && c.Key != k[9] {
					t.Errorf("a change of the refused batch: version %d", c.Version)
				}
			}
		},
	},
}
