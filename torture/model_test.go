package torture

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

// A seen is a call of a history, from its call to its return. Each starts after the
// former has ended, unless meanwhile says that it started with it.
type seen struct {
	Call
	Result
	meanwhile bool
}

func historyOf(ops ...seen) *History {
	h := NewHistory("owner")
	now := int64(0)
	for i, s := range ops {
		if !s.meanwhile {
			now += 10
		}
		op := porcupine.Operation{ClientId: i, Input: s.Call, Call: now, Output: s.Result, Return: now + 5}
		if s.Result.Unknown {
			op.Return = math.MaxInt64
		}
		h.ops = append(h.ops, op)
	}
	return h
}

func put(data string, v taskstore.Version) seen {
	return seen{Call: Call{Verb: Put, Data: data}, Result: Result{Version: v}}
}

func cas(data string, expected, v taskstore.Version) seen {
	return seen{Call: Call{Verb: PutIfVersion, Data: data, Expected: expected}, Result: Result{Version: v}}
}

func conflict(data string, expected, actual taskstore.Version) seen {
	s := cas(data, expected, actual)
	s.Conflict = true
	return s
}

func get(data string, v taskstore.Version) seen {
	return seen{Call: Call{Verb: Get}, Result: Result{Version: v, Data: data}}
}

func del(existed bool) seen {
	return seen{Call: Call{Verb: Delete}, Result: Result{Existed: existed}}
}

func unknown(s seen) seen   { s.Result = Result{Unknown: true}; return s }
func meanwhile(s seen) seen { s.meanwhile = true; return s }

var ctx = context.Background()

func TestModelKeepsTheContract(t *testing.T) {
	for name, h := range map[string][]seen{
		"a life":           {get("", 0), cas("a", 0, 1), get("a", 1), cas("b", 1, 2), put("c", 3), get("c", 3), del(true), del(false), get("", 0)},
		"a second life":    {put("a", 1), del(true), put("b", 1)},
		"conflicts":        {conflict("a", 1, 0), put("b", 1), conflict("c", 0, 1), conflict("d", 2, 1)},
		"one of two wins":  {cas("a", 0, 1), meanwhile(conflict("b", 0, 1)), get("a", 1)},
		"read old or new":  {put("a", 1), put("b", 2), meanwhile(get("a", 1)), meanwhile(get("b", 2))},
		"applied":          {unknown(put("a", 0)), get("a", 1)},
		"applied late":     {unknown(put("a", 0)), get("", 0), put("b", 1), get("b", 1), get("a", 2)},
		"never applied":    {unknown(cas("a", 0, 0)), put("b", 1), get("b", 1)},
		"deleted late":     {put("a", 1), unknown(del(false)), get("a", 1), get("", 0)},
		"late and refused": {put("a", 1), unknown(cas("b", 1, 0)), put("c", 2), get("c", 2)},
	} {
		assert.NoError(t, historyOf(h...).Check(t.TempDir()), name)
	}
	for name, h := range map[string][]seen{
		"read before it was written":  {get("a", 1), put("a", 1)},
		"read old":                    {put("a", 1), put("b", 2), get("a", 1)},
		"other data":                  {put("a", 1), get("b", 1)},
		"found nothing":               {put("a", 1), get("", 0)},
		"version skipped":             {put("a", 2)},
		"version of a put":            {put("a", 1), put("b", 1)},
		"both win":                    {cas("a", 0, 1), meanwhile(cas("b", 0, 1))},
		"success without match":       {put("a", 1), put("b", 2), cas("c", 1, 2)},
		"conflict without reason":     {put("a", 1), conflict("b", 1, 1)},
		"conflict with the own write": {conflict("a", 0, 1), get("a", 1)},
		"conflict with another":       {put("a", 1), conflict("b", 0, 2)},
		"conflict with no record":     {conflict("a", 1, 3)},
		"deleted no record":           {del(true)},
		"deleted unnoticed":           {put("a", 1), del(false)},
		"deleted twice":               {put("a", 1), del(true), meanwhile(del(true))},
		"applied twice":               {unknown(put("a", 0)), get("a", 1), put("b", 2), get("a", 3)},
		"applied before the call":     {get("a", 1), unknown(put("a", 0))},
		"applied without match":       {put("a", 1), put("b", 2), unknown(cas("c", 1, 0)), get("c", 3)},
		"lost":                        {unknown(put("a", 0)), get("a", 1), get("", 0)},
	} {
		dir := t.TempDir()
		err := historyOf(h...).Check(dir)
		require.ErrorContains(t, err, "not linearizable", name)
		pictures, _ := filepath.Glob(filepath.Join(dir, "*.html"))
		require.Len(t, pictures, 1)
		assert.ErrorContains(t, err, pictures[0])
	}
}

func TestRecordsAreCheckedEachForItself(t *testing.T) {
	one := Call{Verb: Put, Task: "one", Data: "a"}
	two := Call{Verb: Put, Task: "two", Data: "b"}
	first := Result{Version: 1}
	assert.NoError(t, historyOf(seen{Call: one, Result: first}, seen{Call: two, Result: first}).Check(t.TempDir()))
}

func TestReadsThatAreForgottenDoNotCount(t *testing.T) {
	stale := historyOf(put("a", 1), put("b", 2), get("a", 1), put("c", 3), get("c", 3))
	at := func(ns time.Duration) time.Time { return stale.begin.Add(ns) } // the read is from 30 to 35
	stale.ForgetReads(at(0), at(29))
	stale.ForgetReads(at(36), at(45))
	assert.Error(t, stale.Check(""))
	stale.ForgetReads(at(34), at(40))
	assert.NoError(t, stale.Check(""))
	assert.Len(t, stale.ops, 4, "other calls at that time do count")
}

// The model reads the answers of a backend as the contract means them.
func TestCallsAreReadAsTheContractMeansThem(t *testing.T) {
	odd := errors.New("odd")
	key := taskstore.Key{Owner: "o", Task: "t"}
	write := Call{Verb: PutIfVersion, Task: "t", Expected: 2}
	conflict := &taskstore.VersionConflictError{Key: key, Expected: 2, Actual: 7}
	for _, c := range []struct {
		call Call
		err  error
		want Result
		fail bool
	}{
		{write, nil, Result{Version: 3}, false},
		{write, conflict, Result{Conflict: true, Version: 7}, false},
		{write, errors.Join(taskstore.ErrOutcomeUnknown, context.DeadlineExceeded), Result{Unknown: true}, false},
		{write, odd, Result{}, true},
		{write, &taskstore.VersionConflictError{Key: key, Expected: 1, Actual: 7}, Result{}, true},
		{Call{Verb: Get, Task: "t"}, nil, Result{Version: 3, Data: "data"}, false},
		{Call{Verb: Get, Task: "t"}, taskstore.ErrNotFound, Result{}, false},
		{Call{Verb: Get, Task: "t"}, odd, Result{}, true},
		{Call{Verb: Delete, Task: "t"}, nil, Result{Existed: true}, false},
		{Call{Verb: Put, Task: "t"}, nil, Result{Version: 3}, false},
	} {
		h := NewHistory(key.Owner)
		got, ok := h.Do(ctx, fixed{err: c.err}, 0, c.call)
		assert.Equal(t, c.want, got, "%v", c)
		assert.Equal(t, !c.fail, ok, "%v", c)
		assert.Len(t, h.Failures(), h.Tally().Failed)
	}
}

// fixed is a backend that always answers the same.
type fixed struct {
	taskstore.StorageBackend
	err error
}

func (f fixed) Get(context.Context, taskstore.Key) (taskstore.Record, error) {
	if f.err != nil {
		return taskstore.Record{}, f.err
	}
	return taskstore.Record{Version: 3, Value: taskstore.Value{Data: []byte("data")}}, nil
}

func (f fixed) Put(context.Context, taskstore.Key, taskstore.Value) (taskstore.Version, error) {
	return 3, f.err
}

func (f fixed) PutIfVersion(context.Context, taskstore.Key, taskstore.Value, taskstore.Version) (taskstore.Version, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 3, nil
}

func (f fixed) Delete(context.Context, taskstore.Key) (bool, error) { return true, f.err }
