package backendtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/taskstore/taskstore"
)

var casRules = []rule{
	{
		name: "cas/match",
		text: "PutIfVersion writes if the record's version is expected, and returns expected+1.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("1"))
			for v := taskstore.Version(1); v <= 12; v++ { // beyond one digit
				s.wantVersion("PutIfVersion", s.mustCAS(key, text(fmt.Sprint(v+1)), v), v+1)
				s.wantRecord(key, v+1, text(fmt.Sprint(v+1)))
			}
		},
	},
	{
		name: "cas/mismatch",
		text: "PutIfVersion with another version than the record's gives a *VersionConflictError with the key, the expected and the actual version; it matches ErrVersionConflict and not ErrNotFound.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			for v := taskstore.Version(1); v <= 11; v++ {
				s.mustPut(key, text("x"))
				for _, expected := range []taskstore.Version{v - 1, v + 1, v + 10, 10 * v, 100} {
					_, err := s.PutIfVersion(t.ctx, key, text("y"), expected)
					s.wantConflict(err, key, expected, v)
				}
			}
			s.wantRecord(key, 11, text("x"))
		},
	},
	{
		name: "cas/missing",
		text: "PutIfVersion of a record that is not there gives a *VersionConflictError with Actual 0, which matches ErrVersionConflict and ErrNotFound.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			_, err := s.PutIfVersion(t.ctx, key, text("x"), 1)
			s.wantConflict(err, key, 1, 0)
			s.wantNone(key)
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner)
			s.mustPut(key, text("x"))
			s.mustDelete(key)
			_, err = s.PutIfVersion(t.ctx, key, text("x"), 1)
			s.wantConflict(err, key, 1, 0)
		},
	},
	{
		name: "cas/create-only",
		text: "With expected 0 PutIfVersion creates, and only creates.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.wantVersion("create", s.mustCAS(key, text("1"), 0), 1)
			_, err := s.PutIfVersion(t.ctx, key, text("2"), 0)
			s.wantConflict(err, key, 0, 1)
			s.wantRecord(key, 1, text("1"))
		},
	},
	{
		name: "cas/huge-expected",
		text: "An expected version that no record can have is a conflict like any other.",
		check: func(t *trial) {
			s := t.open()
			there, missing := newKey(), newKey()
			s.mustPut(there, text("x"))
			for _, expected := range []taskstore.Version{
				1<<32 + 1, 1<<53 + 1, taskstore.MaxVersion, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64,
			} {
				_, err := s.PutIfVersion(t.ctx, there, text("y"), expected)
				s.wantConflict(err, there, expected, 1)
				_, err = s.PutIfVersion(t.ctx, missing, text("y"), expected)
				s.wantConflict(err, missing, expected, 0)
			}
			s.wantRecord(there, 1, text("x"))
			s.wantNone(missing)
		},
	},
	{
		name: "cas/failed",
		text: "A PutIfVersion that fails leaves the record as it is: data, version and expiry.",
		check: func(t *trial) {
			s := t.open()
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			expires, stays := newKey(), newKey()
			s.mustPut(expires, until("x", at))
			s.mustPut(stays, text("x"))
			for _, expected := range []taskstore.Version{0, 2, math.MaxUint64} {
				for _, v := range []taskstore.Value{text("y"), until("y", at.Add(time.Hour)), until("y", at.Add(-2*time.Hour))} {
					for _, key := range []taskstore.Key{expires, stays} {
						_, err := s.PutIfVersion(t.ctx, key, v, expected)
						s.wantConflict(err, key, expected, 1)
					}
				}
			}
			s.wantRecord(expires, 1, until("x", at))
			s.wantRecord(stays, 1, text("x"))
		},
	},
	{
		name: "cas/race-create",
		text: "Of any number of concurrent PutIfVersion with expected 0 one succeeds, and the others find version 1.",
		check: func(t *trial) {
			s := t.open()
			for range 10 {
				s.race(newKey(), 0)
			}
		},
	},
	{
		name: "cas/race-update",
		text: "Of any number of concurrent PutIfVersion with one expected version at most one succeeds.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			for v := taskstore.Version(1); v <= 10; v++ {
				s.race(key, v)
			}
		},
	},
	{
		name: "cas/increments",
		text: "No update is lost when all go through PutIfVersion.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			const n, k = 6, 20
			counter := func(c uint64) taskstore.Value {
				return taskstore.Value{Data: binary.BigEndian.AppendUint64(nil, c)}
			}
			s.mustPut(key, counter(0))
			increment := func() error {
				for {
					r, err := s.Get(t.ctx, key)
					if err != nil {
						return err
					}
					if len(r.Data) != 8 {
						return fmt.Errorf("read %d bytes, wrote 8", len(r.Data))
					}
					runtime.Gosched() // so that others come in between, however fast the backend
					_, err = s.PutIfVersion(t.ctx, key, counter(binary.BigEndian.Uint64(r.Data)+1), r.Version)
					if !errors.Is(err, taskstore.ErrVersionConflict) {
						return err
					}
				}
			}
			atOnce(n, func(int) {
				for range k {
					if err := increment(); err != nil {
						t.Errorf("increment: %v", err)
						return
					}
				}
			})
			s.wantRecord(key, n*k+1, counter(n*k))
		},
	},
}

// race checks that one of several PutIfVersion wins and stays.
func (s *store) race(key taskstore.Key, expected taskstore.Version) {
	s.Helper()
	const n = 12
	var winners, winner atomic.Int32
	atOnce(n, func(i int) {
		v, err := s.PutIfVersion(s.ctx, key, text(fmt.Sprint(i)), expected)
		if err == nil {
			s.wantVersion("the winner", v, expected+1)
			winners.Add(1)
			winner.Store(int32(i))
			return
		}
		s.wantConflict(err, key, expected, expected+1)
	})
	if got := winners.Load(); got != 1 {
		s.Fatalf("%d of %d concurrent PutIfVersion with expected %d succeed, want 1", got, n, expected)
	}
	s.wantRecord(key, expected+1, text(fmt.Sprint(winner.Load())))
}
