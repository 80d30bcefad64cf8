package backendtest

import (
	"errors"
	"math"
	"time"

	"github.com/taskstore/taskstore"
)

// clockError is the allowed difference between taskstore.Now and the time by which a
// backend expires its records.
const clockError = 100 * time.Millisecond

var (
	tooEarly = time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)
	lastOf   = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
)

var expiryRules = []rule{
	{
		name: "expiry/past-create",
		text: "An ExpiresAt that is already past is legal: the write that creates succeeds with version 1, and leaves no record behind.",
		check: func(t *trial) {
			s := t.open()
			past := s.now().Add(-2 * time.Second)
			for _, at := range []time.Time{past, past.AddDate(-10, 0, 0), time.Unix(1, 0)} {
				key := newKey()
				s.wantVersion("Put", s.mustPut(key, until("x", at)), 1)
				s.wantGone(key)
				s.wantVersion("create", s.mustCAS(key, until("x", at), 0), 1)
				s.wantGone(key)
			}
		},
	},
	{
		name: "expiry/past-update",
		text: "A write whose ExpiresAt is already past succeeds, with the next version, and an existing record is gone.",
		check: func(t *trial) {
			s := t.open()
			past := s.now().Add(-2 * time.Second)
			for _, before := range []taskstore.Value{text("x"), until("x", past.Add(time.Hour))} {
				put, cas := newKey(), newKey()
				s.mustPut(put, before)
				s.mustPut(put, before)
				s.wantVersion("Put", s.mustPut(put, until("y", past)), 3)
				s.wantGone(put)
				s.mustPut(cas, before)
				s.wantVersion("PutIfVersion", s.mustCAS(cas, until("y", past), 1), 2)
				s.wantGone(cas)
				s.wantVersion("create afterwards", s.mustCAS(cas, text("z"), 0), 1)
				s.wantRecord(cas, 1, text("z"))
			}
		},
	},
	{
		name: "expiry/past-conflict",
		text: "A PutIfVersion with the wrong version is a conflict and leaves the record as it is, for any ExpiresAt.",
		check: func(t *trial) {
			s := t.open()
			past := s.now().Add(-2 * time.Second)
			key := newKey()
			s.mustPut(key, text("x"))
			for _, expected := range []taskstore.Version{0, 2} {
				_, err := s.PutIfVersion(t.ctx, key, until("y", past), expected)
				s.wantConflict(err, key, expected, 1)
			}
			s.wantRecord(key, 1, text("x"))
		},
	},
	{
		name:  "expiry/instant",
		text:  "A record exists while the backend's clock is not past its ExpiresAt, and not from then on.",
		check: checkInstant,
	},
	{
		name: "expiry/clock",
		text: "Now returns the time by which records expire: an ExpiresAt computed from it is right.",
		check: func(t *trial) {
			s := t.open()
			now := s.now()
			soon, past := newKey(), newKey()
			at := now.Add(time.Minute).Truncate(time.Millisecond)
			s.mustPut(soon, until("x", at))
			s.wantRecord(soon, 1, until("x", at))
			s.mustPut(past, until("x", now.Add(-time.Second)))
			s.wantNone(past)
		},
	},
	{
		name: "expiry/read-back",
		text: "ExpiresAt reads back in UTC, cut off to the millisecond.",
		check: func(t *trial) {
			s := t.open()
			hour := s.now().Add(time.Hour).Truncate(time.Second)
			zone := time.FixedZone("far east", 13*3600)
			owner := newOwner()
			for i, at := range []time.Time{
				hour, hour.Add(time.Millisecond), hour.Add(999 * time.Millisecond), hour.Add(123456789 * time.Nanosecond),
				hour.Add(999999999 * time.Nanosecond), hour.Add(4 * time.Millisecond).In(zone), hour.AddDate(1000, 0, 0).Add(7 * time.Millisecond),
				lastOf, lastOf.Add(999999 * time.Nanosecond), lastOf.In(zone),
			} {
				key := of(owner, string(rune('a'+i)))
				want := until("x", at.Truncate(time.Millisecond))
				s.mustPut(key, until("x", at))
				s.wantRecord(key, 1, want)
				s.mustCAS(key, until("x", at), 1)
				s.wantRecord(key, 2, want)
				r := s.mustGet(key)
				if r.ExpiresAt.Location() != time.UTC {
					t.Errorf("Get: ExpiresAt in %v, want UTC", r.ExpiresAt.Location())
				}
				for _, r := range s.mustList(key) {
					s.wantSame("list", r, taskstore.Record{Key: key, Version: 2, Value: want})
					if r.ExpiresAt.Location() != time.UTC {
						t.Errorf("list: ExpiresAt in %v, want UTC", r.ExpiresAt.Location())
					}
				}
			}
		},
	},
	{
		name: "expiry/never",
		text: "A record with a zero ExpiresAt does not expire, and ExpiresAt reads back as the zero Time.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			if r := s.mustGet(key); !r.ExpiresAt.IsZero() {
				t.Errorf("Get: ExpiresAt %v, want the zero Time", r.ExpiresAt)
			}
			for _, r := range s.mustList(key) {
				if !r.ExpiresAt.IsZero() {
					t.Errorf("list: ExpiresAt %v, want the zero Time", r.ExpiresAt)
				}
			}
		},
	},
	{
		name: "expiry/cleared",
		text: "A write with a zero ExpiresAt takes away an earlier expiry.",
		check: func(t *trial) {
			s := t.open()
			s.outlives(func(put, cas taskstore.Key) taskstore.Value {
				s.mustPut(put, text("stays"))
				s.mustCAS(cas, text("stays"), 1)
				return text("stays")
			})
		},
	},
	{
		name: "expiry/prolonged",
		text: "A write with a later ExpiresAt prolongs the record's life.",
		check: func(t *trial) {
			s := t.open()
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			s.outlives(func(put, cas taskstore.Key) taskstore.Value {
				s.mustPut(put, until("stays", at))
				s.mustCAS(cas, until("stays", at), 1)
				return until("stays", at)
			})
		},
	},
	{
		name: "expiry/shortened",
		text: "A write with an earlier ExpiresAt shortens the record's life.",
		check: func(t *trial) {
			s := t.open()
			for _, before := range []taskstore.Value{text("x"), until("x", s.now().Add(time.Hour))} {
				put, cas := newKey(), newKey()
				s.mustPut(put, before)
				s.mustPut(cas, before)
				soon := s.now().Add(20 * time.Millisecond)
				s.mustPut(put, until("y", soon))
				s.mustCAS(cas, until("y", soon), 1)
				s.awaitGone(put)
				s.awaitGone(cas)
			}
		},
	},
	{
		name:  "expiry/out-of-range",
		text:  "An ExpiresAt that is not within the years 1970 to 9999 gives an error that matches ErrInvalidArgument, and changes no record.",
		check: checkExpiryRange,
	},
}

// checkInstant watches a record expire.
func checkInstant(t *trial) {
	s := t.open()
	key := newKey()
	at := s.now().Add(3 * clockError)
	// Not near a full second, so that a backend that only counts those is caught.
	switch full := at.Truncate(time.Second); {
	case at.Sub(full) < 250*time.Millisecond:
		at = full.Add(250 * time.Millisecond)
	case at.Sub(full) > 750*time.Millisecond:
		at = full.Add(1250 * time.Millisecond)
	}
	s.mustPut(key, until("x", at))
	for start := time.Now(); time.Since(start) < s.waitLimit; time.Sleep(2 * time.Millisecond) {
		before := s.now()
		_, err := s.Get(t.ctx, key)
		after := s.now()
		switch {
		case err == nil && before.After(at.Add(clockError)):
			t.Fatalf("the record is there %v after its ExpiresAt", before.Sub(at))
		case err == nil:
		case !errors.Is(err, taskstore.ErrNotFound):
			t.Fatalf("Get: %v", err)
		case after.Before(at.Add(-clockError)):
			t.Fatalf("the record is gone %v before its ExpiresAt", at.Sub(after))
		default:
			s.wantGone(key)
			return
		}
	}
	t.Fatalf("the backend's clock did not reach an instant that was near within %v", s.waitLimit)
}

// outlives checks that records about to expire do not expire once change has written to
// them the value that it returns.
func (s *store) outlives(change func(put, cas taskstore.Key) taskstore.Value) {
	s.Helper()
	put, cas := newKey(), newKey()
	// The witness is not changed, and shows when the others would have expired; it is
	// written last. A second is enough for change, and not long.
	witness := newKey()
	soon := s.now().Add(time.Second)
	s.mustPut(put, until("x", soon))
	s.mustPut(cas, until("x", soon))
	want := change(put, cas)
	s.mustPut(witness, until("x", soon))
	s.awaitGone(witness)
	s.wantRecord(put, 2, want)
	s.wantRecord(cas, 2, want)
	s.wantTasks("list", s.mustList(of(put.Owner, "")), put.Owner, put.Task)
	if _, err := s.CleanupExpired(s.ctx); err != nil {
		s.Errorf("CleanupExpired: %v", err)
	}
	s.wantRecord(put, 2, want)
	s.wantRecord(cas, 2, want)
}

func checkExpiryRange(t *trial) {
	s := t.open()
	there, missing := newKey(), newKey()
	at := s.now().Add(time.Hour).Truncate(time.Millisecond)
	s.mustPut(there, until("x", at))
	// In milliseconds some of these wrap around to instants of our time.
	for _, bad := range []time.Time{
		tooEarly, time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC), lastOf.Add(time.Millisecond),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<62, 0), time.Unix(-1<<62, 0), time.UnixMilli(math.MaxInt64),
		time.Unix(18446748073709551, 0), time.Unix(-18446740073709551, 0),
	} {
		for _, key := range []taskstore.Key{there, missing} {
			_, err := s.Put(t.ctx, key, until("y", bad))
			s.wantError("Put with an ExpiresAt in "+bad.Format("2006"), err, taskstore.ErrInvalidArgument)
		}
		_, err := s.PutIfVersion(t.ctx, there, until("y", bad), 1)
		s.wantError("PutIfVersion with an ExpiresAt in "+bad.Format("2006"), err, taskstore.ErrInvalidArgument)
		_, err = s.PutIfVersion(t.ctx, missing, until("y", bad), 0)
		s.wantError("create with an ExpiresAt in "+bad.Format("2006"), err, taskstore.ErrInvalidArgument)
	}
	s.wantRecord(there, 1, until("x", at))
	s.wantNone(missing)
}
