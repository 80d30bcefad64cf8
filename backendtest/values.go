package backendtest

import (
	"bytes"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

var valueRules = []rule{
	{
		name: "values/empty",
		text: "Nil and empty Data both read back empty.",
		check: func(t *trial) {
			s := t.open()
			for _, data := range [][]byte{nil, {}} {
				key := newKey()
				v := taskstore.Value{Data: data}
				s.wantVersion("Put", s.mustPut(key, v), 1)
				s.wantRecord(key, 1, v)
				s.wantVersion("PutIfVersion", s.mustCAS(key, v, 1), 2)
				s.wantRecord(key, 2, v)
				for _, r := range s.mustList(of(key.Owner, "")) {
					s.wantSame("list", r, taskstore.Record{Key: key, Version: 2, Value: v})
				}
			}
		},
	},
	{
		name: "values/any-bytes",
		text: "Data may hold any bytes. Backends keep them as they are.",
		check: func(t *trial) {
			s := t.open()
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			owner := newOwner()
			for i, data := range []string{
				string(all), "\x00", "\xff\xfe\xfd", "\r\n", " ", "0", "-0", "1e+14", "null", "{}", "[]", `"`, `\`, `{"a":1}`,
				"\xed\xa0\x80", "\u2028", strings.Repeat("\x00", 100), "x\x00y", "nil", "$-1\r\n",
			} {
				key := of(owner, string(rune('a'+i)))
				s.mustPut(key, text(data))
				s.wantRecord(key, 1, text(data))
				s.mustCAS(key, text(data), 1)
				s.wantRecord(key, 2, text(data))
				for _, r := range s.mustList(key) {
					s.wantSame("list", r, taskstore.Record{Key: key, Version: 2, Value: text(data)})
				}
			}
		},
	},
	{
		name: "values/large",
		text: "Without a limit a record holds a MiB and more.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			v := taskstore.Value{Data: bytes.Repeat([]byte("0123456789abcde\xff"), 1<<16)}
			s.mustPut(key, v)
			s.wantRecord(key, 1, v)
			v.Data[1<<20-1] = 0
			s.mustCAS(key, v, 1)
			s.wantRecord(key, 2, v)
			for _, r := range s.mustList(key) {
				s.wantSame("list", r, taskstore.Record{Key: key, Version: 2, Value: v})
			}
		},
	},
	{
		name: "values/copied-in",
		text: "A method copies Data on the way in: a record does not change when the caller's slice does.",
		check: func(t *trial) {
			s := t.open()
			put, created := newKey(), newKey()
			data := []byte("written")
			s.mustPut(put, taskstore.Value{Data: data})
			s.mustCAS(created, taskstore.Value{Data: data}, 0)
			copy(data, "XXXXXXX")
			s.wantRecord(put, 1, text("written"))
			s.wantRecord(created, 1, text("written"))
			data = []byte("updated")
			s.mustPut(put, taskstore.Value{Data: data})
			s.mustCAS(created, taskstore.Value{Data: data}, 1)
			copy(data, "XXXXXXX")
			s.wantRecord(put, 2, text("updated"))
			s.wantRecord(created, 2, text("updated"))
		},
	},
	{
		name: "values/copied-out",
		text: "A method copies Data on the way out: a record does not change when a caller writes into the slices that Get and lists returned.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("written"))
			deface := func(r taskstore.Record) {
				for i := range r.Data {
					r.Data[i] = 'X'
				}
				_ = append(r.Data, "more"...)
			}
			first := s.mustGet(key)
			deface(s.mustGet(key))
			s.wantRecord(key, 1, text("written"))
			for _, r := range s.mustList(key) {
				deface(r)
			}
			s.wantRecord(key, 1, text("written"))
			if p, ok := taskstore.As[taskstore.Pager](s.StorageBackend); ok {
				for _, r := range s.walk(p, key, 10) {
					deface(r)
				}
				s.wantRecord(key, 1, text("written"))
			}
			for _, r := range s.mustList(key) {
				s.wantSame("list", r, taskstore.Record{Key: key, Version: 1, Value: text("written")})
			}
			s.mustPut(key, text("updated"))
			s.wantSame("a record read before", first, taskstore.Record{Key: key, Version: 1, Value: text("written")})
		},
	},
	{
		name: "values/replaced",
		text: "A write replaces the whole Value.",
		check: func(t *trial) {
			s := t.open()
			at := s.now().Add(time.Hour).Truncate(time.Millisecond)
			put, cas := newKey(), newKey()
			version := taskstore.Version(0)
			for _, v := range []taskstore.Value{
				text("long enough to be cut"), text("short"), {}, until("x", at), until("", at.Add(time.Minute)), {}, text("end"),
			} {
				s.mustPut(put, v)
				s.mustCAS(cas, v, version)
				version++
				s.wantRecord(put, version, v)
				s.wantRecord(cas, version, v)
			}
		},
	},
}
