package backendtest

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

var versionRules = []rule{
	{
		name: "versions/missing",
		text: "If there is no record, the error of Get matches ErrNotFound.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.wantNone(key)
			s.mustPut(key, text("x"))
			s.wantNone(of(key.Owner, "other"))
		},
	},
	{
		name: "versions/count",
		text: "A record carries a version, 1 when it is created and one more at every later write.",
		check: func(t *trial) {
			s := t.open()
			put, created := newKey(), newKey()
			s.wantVersion("the Put that creates", s.mustPut(put, text("1")), 1)
			s.wantRecord(put, 1, text("1"))
			s.wantVersion("PutIfVersion that creates", s.mustCAS(created, text("1"), 0), 1)
			s.wantRecord(created, 1, text("1"))
			for _, key := range []taskstore.Key{put, created} {
				s.wantVersion("Put over version 1", s.mustPut(key, text("2")), 2)
				s.wantRecord(key, 2, text("2"))
				s.wantVersion("PutIfVersion over version 2", s.mustCAS(key, text("3"), 2), 3)
				s.wantRecord(key, 3, text("3"))
				s.wantVersion("PutIfVersion over version 3", s.mustCAS(key, text("4"), 3), 4)
				s.wantVersion("Put over version 4, with the same data", s.mustPut(key, text("4")), 5)
				s.wantRecord(key, 5, text("4"))
			}
		},
	},
	{
		name: "versions/reads",
		text: "Only writes count: reading does not change a version.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			for range 3 {
				s.mustGet(key)
				s.mustList(key)
			}
			s.wantRecord(key, 1, text("x"))
		},
	},
	{
		name: "versions/restart",
		text: "Versions start again at 1 after a delete.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("a"))
			s.mustPut(key, text("b"))
			s.mustDelete(key)
			s.wantVersion("Put after a delete", s.mustPut(key, text("c")), 1)
			s.wantRecord(key, 1, text("c"))
			s.mustPut(key, text("d"))
			s.mustDelete(key)
			s.wantVersion("create after a delete", s.mustCAS(key, text("e"), 0), 1)
			s.wantRecord(key, 1, text("e"))
		},
	},
	{
		name: "versions/concurrent-puts",
		text: "Of concurrent Puts the later wins: each makes a version of its own and the last one's data stays.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			const n = 16
			versions := make([]taskstore.Version, n)
			atOnce(n, func(i int) {
				var err error
				if versions[i], err = s.Put(t.ctx, key, text(string(rune('a'+i)))); err != nil {
					t.Errorf("Put: %v", err)
				}
			})
			r := s.mustGet(key)
			last := slices.Index(versions, r.Version)
			if last < 0 || string(r.Data) != string(rune('a'+last)) {
				t.Errorf("Get: version %d with data %q, and that Put wrote something else", r.Version, r.Data)
			}
			slices.Sort(versions)
			for i, v := range versions {
				if v != taskstore.Version(i+1) {
					t.Fatalf("%d concurrent Puts made the versions %d, want each of 1 to %d once", n, versions, n)
				}
			}
		},
	},
	{
		name:  "versions/linearizable",
		text:  "Operations on one key are linearizable: later reads find a finished write, and no reader sees a version go back.",
		check: checkLinearizable,
	},
}

// checkLinearizable runs readers beside one writer, whose data is the version that it
// makes.
func checkLinearizable(t *trial) {
	s := t.open()
	key := newKey()
	value := func(v taskstore.Version) taskstore.Value {
		return taskstore.Value{Data: binary.BigEndian.AppendUint64(nil, uint64(v))}
	}
	s.mustPut(key, value(1))
	var finished atomic.Uint64 // the version that the last finished write made
	finished.Store(1)

	stop := make(chan struct{})
	var reading sync.WaitGroup
	const readers = 3
	var reads [readers]atomic.Int64
	read := func(i int) {
		list := i == 0
		for last := uint64(0); ; reads[i].Add(1) {
			select {
			case <-stop:
				return
			default:
			}
			least := max(last, finished.Load())
			var r taskstore.Record
			var err error
			if list {
				var records []taskstore.Record
				if records, err = s.ListByPrefix(t.ctx, key); err == nil && len(records) == 1 {
					r = records[0]
				}
			} else {
				r, err = s.Get(t.ctx, key)
			}
			switch {
			case err != nil:
				t.Errorf("read: %v", err)
				return
			case len(r.Data) != 8 || binary.BigEndian.Uint64(r.Data) != uint64(r.Version):
				t.Errorf("read: version %d with the data %x of another", r.Version, r.Data)
				return
			case uint64(r.Version) < least:
				t.Errorf("read: version %d after %d was there", r.Version, least)
				return
			}
			last = uint64(r.Version)
		}
	}
	for i := range readers {
		reading.Go(func() { read(i) })
	}
	defer reading.Wait()
	defer close(stop)
	enough := func() bool {
		for i := range reads {
			if reads[i].Load() < 100 {
				return false
			}
		}
		return true
	}
	start := time.Now()
	for v := taskstore.Version(2); (v <= 200 || !enough() && time.Since(start) < t.waitLimit/2) && !t.Failed(); v++ {
		if v%2 == 0 {
			s.wantVersion("Put", s.mustPut(key, value(v)), v)
		} else {
			s.wantVersion("PutIfVersion", s.mustCAS(key, value(v), v-1), v)
		}
		finished.Store(uint64(v))
		s.wantRecord(key, v, value(v))
	}
}

var deleteRules = []rule{
	{
		name: "delete/existing",
		text: "Delete removes the record and reports that there was one.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			s.mustPut(key, text("y"))
			if !s.mustDelete(key) {
				t.Errorf("Delete of a record reports no record")
			}
			s.wantNone(key)
			s.wantTasks("list after a delete", s.mustList(of(key.Owner, "")), key.Owner)
			_, err := s.PutIfVersion(t.ctx, key, text("z"), 2)
			s.wantConflict(err, key, 2, 0)
		},
	},
	{
		name: "delete/missing",
		text: "To delete a record that is not there is no error; Delete reports false.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			if s.mustDelete(key) {
				t.Errorf("Delete of a missing record reports a record")
			}
			s.mustPut(key, text("x"))
			s.mustDelete(key)
			if s.mustDelete(key) {
				t.Errorf("the second Delete reports that there was a record")
			}
		},
	},
	{
		name: "delete/others-stay",
		text: "Delete removes the record of its key and no other.",
		check: func(t *trial) {
			s := t.open()
			owner := newOwner()
			for _, task := range []string{"a", "ab", "abc", "b"} {
				s.mustPut(of(owner, task), text(task))
			}
			s.mustDelete(of(owner, "ab"))
			s.wantTasks("list", s.mustList(of(owner, "")), owner, "a", "abc", "b")
			s.wantRecord(of(owner, "abc"), 1, text("abc"))
		},
	},
	{
		name: "delete/race",
		text: "Of concurrent Deletes of one record one reports that there was a record.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			for range 20 {
				s.mustPut(key, text("x"))
				var existed atomic.Int32
				atOnce(8, func(int) {
					switch yes, err := s.Delete(t.ctx, key); {
					case err != nil:
						t.Errorf("Delete: %v", err)
					case yes:
						existed.Add(1)
					}
				})
				if n := existed.Load(); n != 1 {
					t.Fatalf("%d of 8 concurrent Deletes report that there was a record, want 1", n)
				}
			}
		},
	},
}
