package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/taskstore/taskstore"
)

var keyRules = []rule{
	{
		name: "keys/empty-owner",
		text: "An empty owner gives a *KeyError, which matches ErrInvalidKey, from every method.",
		check: func(t *trial) {
			t.open().wantInvalid(of("", "task"), false)
		},
	},
	{
		name: "keys/empty-task",
		text: "An empty task gives a *KeyError, which matches ErrInvalidKey, from every method that takes a key.",
		check: func(t *trial) {
			t.open().wantInvalid(of(newOwner(), ""), true)
		},
	},
	{
		name: "keys/long-owner",
		text: "An owner of more than MaxKeyLength bytes gives a *KeyError, which matches ErrInvalidKey, from every method.",
		check: func(t *trial) {
			t.open().wantInvalid(of(padded(newOwner(), taskstore.MaxKeyLength+1), "task"), false)
		},
	},
	{
		name: "keys/long-task",
		text: "A task of more than MaxKeyLength bytes gives a *KeyError, which matches ErrInvalidKey, from every method.",
		check: func(t *trial) {
			t.open().wantInvalid(of(newOwner(), padded("task", taskstore.MaxKeyLength+1)), false)
		},
	},
	{
		name: "keys/longest",
		text: "MaxKeyLength is the greatest allowed length of an owner and of a task.",
		check: func(t *trial) {
			s := t.open()
			key := of(padded(newOwner(), taskstore.MaxKeyLength), padded("task", taskstore.MaxKeyLength))
			s.wantVersion("create", s.mustCAS(key, text("1"), 0), 1)
			s.wantVersion("update", s.mustPut(key, text("2")), 2)
			s.wantRecord(key, 2, text("2"))
			s.wantTasks("list", s.mustList(key), key.Owner, key.Task)
			for _, v := range s.verbs(text("3")) {
				if err := v.call(t.ctx, key); errors.Is(err, taskstore.ErrInvalidKey) {
					t.Errorf("%s: %v", v.name, err)
				}
			}
		},
	},
	{
		name: "keys/empty-prefix",
		text: "A prefix whose task is empty stands for all records of its owner.",
		check: func(t *trial) {
			s := t.open()
			key := newKey()
			s.mustPut(key, text("x"))
			s.wantTasks("list", s.mustList(of(key.Owner, "")), key.Owner, key.Task)
			for _, v := range s.verbs(text("x")) {
				if !v.prefix {
					continue
				}
				if err := v.call(t.ctx, of(key.Owner, "")); err != nil {
					t.Errorf("%s with an empty task: %v", v.name, err)
				}
			}
		},
	},
}

// wantInvalid checks that every method refuses key; if prefixValid, only the methods that
// do not take a prefix.
func (s *store) wantInvalid(key taskstore.Key, prefixValid bool) {
	s.Helper()
	for _, v := range s.verbs(text("x")) {
		if prefixValid && v.prefix {
			continue
		}
		err := v.call(s.ctx, key)
		s.wantError(v.name, err, taskstore.ErrInvalidKey)
		var keyErr *taskstore.KeyError
		if !errors.As(err, &keyErr) {
			s.Errorf("%s: error %v, want a *KeyError", v.name, err)
		} else if keyErr.Key != key {
			s.Errorf("%s: the *KeyError is about another key", v.name)
		}
	}
}

func padded(s string, length int) string { return s + strings.Repeat("x", length-len(s)) }

var errorRules = []rule{
	{
		name:  "errors/no-secrets",
		text:  "No error text holds an owner, a task or data, not with %+v, %#v or as JSON either.",
		check: checkNoSecrets,
	},
}

func checkNoSecrets(t *trial) {
	s := t.open()
	const owner, task, data = "secretowner", "secrettask", "secretdata"
	key := of(owner+newOwner(), task)
	long := of(padded(owner, taskstore.MaxKeyLength+1), task)
	var errs []error
	collect := func(call string, err error) {
		if err == nil {
			t.Errorf("%s gives no error", call)
			return
		}
		errs = append(errs, err)
	}
	_, err := s.Get(t.ctx, key)
	collect("Get of no record", err)
	update := func(call string, expected taskstore.Version) {
		_, err := s.PutIfVersion(t.ctx, key, text(data), expected)
		collect(call, err)
	}
	update("PutIfVersion of no record", 1)
	s.mustPut(key, text(data))
	update("PutIfVersion at 0 of a record", 0)
	update("PutIfVersion at another version", 7)
	_, err = s.Put(t.ctx, key, until(data, tooEarly))
	collect("Put with an ExpiresAt before 1970", err)
	for _, v := range s.verbs(text(data)) {
		collect(v.name+" with a long owner", v.call(t.ctx, long))
		if !v.prefix {
			collect(v.name+" without a task", v.call(t.ctx, of(key.Owner, "")))
		}
		collect(v.name+" with a long task", v.call(t.ctx, of(key.Owner, padded(task, taskstore.MaxKeyLength+1))))
		collect(v.name+" with a ctx that is done", v.call(done(t.ctx), key))
	}
	if p, ok := taskstore.As[taskstore.Pager](s.StorageBackend); ok {
		_, _, err := p.ListPage(t.ctx, key, "x", 1)
		collect("ListPage with an invented cursor", err)
		_, _, err = p.ListPage(t.ctx, key, "", 0)
		collect("ListPage with the limit 0", err)
	}
	if t.openLimited != nil {
		l := t.limited(1, 100)
		l.mustPut(key, text(data))
		_, err := l.Put(t.ctx, of(key.Owner, task+"2"), text(data))
		collect("Put beyond the limit of records", err)
		_, err = l.Put(t.ctx, key, text(padded(data, 200)))
		collect("Put beyond the limit of data", err)
	}
	for _, err := range errs {
		asJSON, _ := json.Marshal(err)
		for _, printed := range []string{
			err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err), string(asJSON),
		} {
			for _, secret := range []string{owner, task, data} {
				if strings.Contains(printed, secret) {
					t.Errorf("this holds the %s: %s", strings.TrimPrefix(secret, "secret"), printed)
				}
			}
		}
	}
}
