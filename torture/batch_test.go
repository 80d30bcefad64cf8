package torture

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/taskstore/taskstore"
)

func batch(writes ...Write) seen { return seen{Call: Call{Verb: PutBatch, Writes: writes}} }

func refuses(index int, actual taskstore.Version, writes ...Write) seen {
	s := batch(writes...)
	s.Result = Result{Conflict: true, Index: index, Version: actual}
	return s
}

// side is a call about the task's second record.
func side(s seen) seen { s.Place = 1; return s }

func TestModelKeepsTheContractOfBatches(t *testing.T) {
	create := batch(Write{Data: "a"}, Write{Place: 1, Data: "A"})
	change := batch(Write{Data: "b", Expected: 1}, Write{Place: 1, Data: "B", Expected: 1})
	remove := batch(Write{Remove: true, Expected: 1}, Write{Place: 1, Remove: true, Expected: 1})
	mixed := batch(Write{Data: "b", Expected: 1}, Write{Place: 1, Remove: true, Expected: taskstore.AnyVersion}, Write{Place: 2, Data: "C"})
	old, changed := get("a", 1), get("b", 2)
	oldSide, changedSide := side(get("A", 1)), side(get("B", 2))
	for name, h := range map[string][]seen{
		"a life":                     {create, old, oldSide, change, changed, changedSide},
		"removed":                    {create, remove, side(get("", 0)), get("", 0), create},
		"mixed":                      {create, mixed, changed, side(get("", 0)), third(get("C", 1))},
		"any version of no record":   {cas("a", 0, 1), mixed, third(get("C", 1))},
		"first before, second after": {create, meanwhile(old), change, changedSide},
		"read while it is made":      {create, change, meanwhile(old), meanwhile(changedSide)},
		"refused":                    {create, refuses(0, 1, Write{Data: "c"}), refuses(1, 1, Write{Data: "c", Expected: 1}, Write{Place: 1, Data: "C"}), old, oldSide},
		"refused for the first":      {create, refuses(0, 1, Write{Data: "c", Expected: 3}, Write{Place: 1, Data: "C", Expected: 3})},
		"one by one and together":    {create, cas("c", 1, 2), refuses(0, 2, change.Writes...), side(cas("C", 1, 2))},
		"applied":                    {create, unknown(change), changed, changedSide},
		"applied late":               {create, unknown(change), oldSide, old, changedSide, changed},
		"never applied":              {create, unknown(change), oldSide, old},
		"late and refused":           {create, unknown(change), cas("c", 1, 2), oldSide, get("c", 2)},
	} {
		assert.NoError(t, historyOf(h...).Check(t.TempDir()), name)
	}
	for name, h := range map[string][]seen{
		"half of it":                       {create, change, changed, oldSide},
		"the other half":                   {create, change, changedSide, old},
		"second after, first before":       {create, change, meanwhile(changedSide), old},
		"unknown, and half of it":          {create, unknown(change), changed, oldSide},
		"unknown, and the wrong way round": {create, unknown(change), changedSide, old},
		"applied twice":                    {create, unknown(change), changed, get("b", 3)},
		"half removed":                     {create, remove, get("", 0), oldSide},
		"half undone":                      {create, refuses(1, 1, Write{Data: "c", Expected: 1}, Write{Place: 1, Data: "C"}), get("c", 2)},
		"success without match":            {create, cas("c", 1, 2), change},
		"success beside a match":           {create, side(cas("C", 1, 2)), change},
		"conflict without reason":          {create, refuses(0, 1, change.Writes...)},
		"conflict with another version":    {create, refuses(0, 2, Write{Data: "c"})},
		"conflict of another write":        {create, refuses(1, 1, Write{Data: "c", Expected: 3}, Write{Place: 1, Data: "C", Expected: 3})},
		"conflict with the own write":      {create, refuses(0, 2, change.Writes...), changed},
		"both win":                         {create, change, meanwhile(change)},
	} {
		assert.ErrorContains(t, historyOf(h...).Check(""), "not linearizable", name)
	}
}

// third is a call about the task's third record.
func third(s seen) seen { s.Place = 2; return s }

func TestRefusedBatchesAreReadAsTheContractMeansThem(t *testing.T) {
	h, b := NewHistory("owner"), taskstore.NewMemoryBackend(nil)
	two := func(expected taskstore.Version) Call {
		return Call{Verb: PutBatch, Task: "t", Writes: []Write{{Data: "a"}, {Place: 2, Data: "b", Expected: expected}}}
	}
	for _, c := range []struct {
		call Call
		want Result
	}{
		{two(5), Result{Conflict: true, Index: 1}},
		{two(0), Result{}},
		{two(0), Result{Conflict: true, Version: 1}},
	} {
		got, ok := h.Do(ctx, b, 0, c.call)
		assert.True(t, ok)
		assert.Equal(t, c.want, got)
	}
	key := keyOf("owner", "t", 2)
	odd := &taskstore.BatchError{Index: 1, Err: &taskstore.VersionConflictError{Key: key, Expected: 4, Actual: 7}}
	_, ok := h.Do(ctx, batching{b, odd}, 0, two(5))
	assert.False(t, ok, "a conflict of another record")
	got, _ := h.Do(ctx, batching{b, &taskstore.BatchError{Err: taskstore.ErrOutcomeUnknown}}, 0, two(5))
	assert.Equal(t, Result{Unknown: true}, got)
}

// batching is a backend with batches that always end the same.
type batching struct {
	taskstore.StorageBackend
	err error
}

func (b batching) PutBatch(context.Context, []taskstore.Write) error { return b.err }

// apart is a backend that has no batches, so that PutBatch makes them write by write.
type apart struct{ taskstore.StorageBackend }

func (b apart) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	runtime.Gosched()
	return b.StorageBackend.PutIfVersion(ctx, key, v, expected)
}

// exposed is a backend with batches that keep other writers out, and let readers in between
// their writes.
type exposed struct {
	taskstore.StorageBackend
	mu sync.Mutex
}

func (b *exposed) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.StorageBackend.PutIfVersion(ctx, key, v, expected)
}

func (b *exposed) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.StorageBackend.Delete(ctx, key)
}

func (b *exposed) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range writes {
		r, err := b.Get(ctx, w.Key)
		if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
			return err
		}
		if w.Expected != taskstore.AnyVersion && w.Expected != r.Version {
			return &taskstore.BatchError{Index: i, Err: &taskstore.VersionConflictError{Key: w.Key, Expected: w.Expected, Actual: r.Version}}
		}
	}
	for _, w := range writes {
		if _, err := b.Put(ctx, w.Key, w.Value); err != nil {
			return err
		}
		for range clients {
			runtime.Gosched()
		}
	}
	return nil
}

func TestClientsLearnFromTheirBatches(t *testing.T) {
	c := &client{seen: make(map[name]taskstore.Version)}
	knows := func(first, side, third taskstore.Version) {
		t.Helper()
		assert.Equal(t, []taskstore.Version{first, side, third}, []taskstore.Version{c.seen[name{"t", 0}], c.seen[name{"t", 1}], c.seen[name{"t", 2}]})
	}
	c.learn(Call{Verb: PutBatch, Task: "t", Writes: []Write{{Place: 1}, {Expected: 4}, {Place: 2}}}, Result{})
	knows(5, 1, 1)
	c.learn(Call{Verb: PutBatch, Task: "t", Writes: []Write{{Expected: 4}, {Place: 2, Expected: 1}}}, Result{Conflict: true, Index: 1, Version: 9})
	knows(5, 1, 9)
	c.learn(Call{Verb: PutBatch, Task: "t", Writes: []Write{{Expected: 5}, {Place: 1, Expected: taskstore.AnyVersion}, {Place: 2, Expected: 9, Remove: true}}}, Result{})
	knows(6, 2, 0)
	c.learn(Call{Verb: Get, Task: "t", Place: 1}, Result{Version: 3})
	knows(6, 3, 0)
}
