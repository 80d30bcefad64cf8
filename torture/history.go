package torture

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/taskstore/taskstore"
)

// A History records the calls of any number of clients on the records of one owner.
type History struct {
	Owner string

	begin time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
	tally Tally
	odd   []error
}

// A Tally counts calls by their outcome.
type Tally struct {
	Calls     int
	Conflicts int
	Unknown   int // writes with an unknown outcome
	Failed    int // calls that surely changed no record and returned an error
}

// Add adds the counts of other.
func (t *Tally) Add(other Tally) {
	t.Calls += other.Calls
	t.Conflicts += other.Conflicts
	t.Unknown += other.Unknown
	t.Failed += other.Failed
}

// NewHistory returns an empty history.
func NewHistory(owner string) *History {
	return &History{Owner: owner, begin: time.Now()}
}

// Do makes a call on b for a client and records it. It returns the result, and false for a
// call that surely changed no record and told no version: such a call is not part of the
// history.
func (h *History) Do(ctx context.Context, b taskstore.StorageBackend, client int, c Call) (Result, bool) {
	op := porcupine.Operation{ClientId: client, Input: c, Call: h.now()}
	r, err := call(ctx, b, h.Owner, c)
	op.Output, op.Return = r, h.now()
	if r.Unknown {
		op.Return = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tally.Calls++
	if err != nil {
		h.tally.Failed++
		h.odd = append(h.odd, err)
		return Result{}, false
	}
	if r.Conflict {
		h.tally.Conflicts++
	}
	if r.Unknown {
		h.tally.Unknown++
	}
	h.ops = append(h.ops, op)
	return r, true
}

// ForgetReads removes the reads that were under way between two instants.
func (h *History) ForgetReads(from, to time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, last := from.Sub(h.begin).Nanoseconds(), to.Sub(h.begin).Nanoseconds()
	h.ops = slices.DeleteFunc(h.ops, func(op porcupine.Operation) bool {
		return op.Input.(Call).Verb == Get && op.Call <= last && op.Return >= first
	})
}

func (h *History) now() int64 { return time.Since(h.begin).Nanoseconds() }

// call makes a call. It returns an error only if the call failed: the contract's outcomes
// of a call that worked are part of the result.
func call(ctx context.Context, b taskstore.StorageBackend, owner string, c Call) (r Result, err error) {
	key := keyOf(owner, c.Task, c.Place)
	batch := batchOf(owner, c)
	switch c.Verb {
	case Get:
		var rec taskstore.Record
		rec, err = b.Get(ctx, key)
		r.Version, r.Data = rec.Version, string(rec.Data)
		if errors.Is(err, taskstore.ErrNotFound) {
			return Result{}, nil
		}
	case Put:
		r.Version, err = b.Put(ctx, key, taskstore.Value{Data: []byte(c.Data)})
	case PutIfVersion:
		r.Version, err = b.PutIfVersion(ctx, key, taskstore.Value{Data: []byte(c.Data)}, c.Expected)
	case Delete:
		r.Existed, err = b.Delete(ctx, key)
	case PutBatch:
		err = taskstore.PutBatch(ctx, b, batch)
	}
	var refused *taskstore.BatchError
	if errors.As(err, &refused) {
		r.Index = refused.Index
		key, c.Expected = batch[r.Index].Key, batch[r.Index].Expected
	}
	var conflict *taskstore.VersionConflictError
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return Result{Unknown: true}, nil
	case errors.As(err, &conflict):
		if conflict.Key != key || conflict.Expected != c.Expected {
			return Result{}, fmt.Errorf("a conflict of another record: %w", err)
		}
		return Result{Conflict: true, Version: conflict.Actual, Index: r.Index}, nil
	}
	return Result{}, err
}

// Tally returns the counts so far.
func (h *History) Tally() Tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tally
}

// Failures returns the errors of the calls for which Do returned false.
func (h *History) Failures() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.odd)
}

// checkTime bounds the search for an order. Histories of a few hundred calls take
// milliseconds.
const checkTime = time.Minute

// Check returns nil if the history is linearizable. Otherwise the error names a file in dir
// with a picture that shows the reason; if dir is empty, Check draws no picture.
func (h *History) Check(dir string) error {
	for task, ops := range h.byTask() {
		switch porcupine.CheckOperationsTimeout(model, ops, checkTime) {
		case porcupine.Unknown:
			return fmt.Errorf("%s: not decided within %v whether it is linearizable", task, checkTime)
		case porcupine.Illegal:
			if dir == "" {
				return fmt.Errorf("%s is not linearizable", task)
			}
			picture, err := visualize(dir, ops)
			return errors.Join(fmt.Errorf("%s is not linearizable: see %s", task, picture), err)
		}
	}
	return nil
}

// visualize writes a picture of a history that is not linearizable.
func visualize(dir string, ops []porcupine.Operation) (name string, err error) {
	_, info := porcupine.CheckOperationsVerbose(model, ops, checkTime)
	f, err := os.CreateTemp(dir, "taskstore-history-*.html")
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(porcupine.Visualize(model, info, f), f.Close())
}

// byTask returns, for each task, the operations on its records and the end. Tasks are
// independent of each other.
func (h *History) byTask() map[string][]porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	tasks := make(map[string][]porcupine.Operation)
	for _, op := range h.ops {
		task := op.Input.(Call).Task
		tasks[task] = append(tasks[task], op)
	}
	now := h.now()
	for task, ops := range tasks {
		tasks[task] = append(ops, porcupine.Operation{
			Input: Call{Verb: end}, Output: Result{}, Call: now, Return: now + 1,
		})
	}
	return tasks
}
