package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/taskstore/taskstore"
)

// An Inspector reads the tasks on a backend, for tools of operators. It needs no
// Options and does not write: a [Store] that reads a task settles it, by the lease and
// the MaxTTL of its own options, and a tool does not know those of the servers.
//
// Its methods may be called by any number of goroutines at once. The rules of a Store
// for owners, ids and errors hold for it too.
type Inspector struct{ backend taskstore.StorageBackend }

// NewInspector returns an Inspector of backend; the caller still has to close the
// backend.
func NewInspector(backend taskstore.StorageBackend) *Inspector { return &Inspector{backend: backend} }

// A Stored is a task as it is stored: one whose runner is lost may still be Working.
type Stored struct {
	Task
	// Bytes is the length of its record.
	Bytes int
}

// Owners yields the owners that have tasks, or entries of tasks, as
// [taskstore.OwnerLister] does. On a backend that is not an OwnerLister the error
// matches [errors.ErrUnsupported].
func (i *Inspector) Owners(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lister, ok := taskstore.As[taskstore.OwnerLister](i.backend)
		if !ok {
			yield("", fmt.Errorf("tasks: list owners: %w", errors.ErrUnsupported))
			return
		}
		for stored, err := range lister.Owners(ctx) {
			owner, mine := strings.CutPrefix(stored, userPrefix)
			if err == nil && (!mine || owner == "") {
				continue
			}
			if !yield(owner, err) || err != nil {
				return
			}
		}
	}
}

// Get returns the task as it is stored, by one call of the backend.
func (i *Inspector) Get(ctx context.Context, owner, id string) (Stored, error) {
	key, err := taskKey(owner, id)
	if err != nil {
		return Stored{}, err
	}
	raw, err := i.backend.Get(ctx, key)
	if errors.Is(err, taskstore.ErrNotFound) {
		return Stored{}, ErrNotFound
	}
	if err != nil {
		return Stored{}, err
	}
	return storedOf(raw)
}

// All yields the owner's tasks as they are stored, oldest first. If the backend is a
// [taskstore.Pager], it holds one page of records in memory.
//
// A record that is no task, is damaged or has a newer format is yielded with its error,
// as a Stored that has only Owner, ID and, if known, Bytes; the loop goes on. Any other
// error comes with the zero Stored and ends the loop.
func (i *Inspector) All(ctx context.Context, owner string) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		if err := checkOwner(owner); err != nil {
			yield(Stored{}, err)
			return
		}
		for raw, err := range taskstore.All(ctx, i.backend, tasksKey(owner)) {
			var damaged *taskstore.CorruptError
			if errors.As(err, &damaged) && damaged.Key.Task != "" {
				raw.Key, err = damaged.Key, nil
				if !yield(unreadableOf(raw), damaged) {
					return
				}
				continue
			}
			if err != nil {
				yield(Stored{}, err)
				return
			}
			t, err := storedOf(raw)
			if err != nil {
				t = unreadableOf(raw)
			}
			if !yield(t, err) {
				return
			}
		}
	}
}

// Strays returns how many entries count an active task of the owner that does not
// exist, or has ended. They take the place of tasks within MaxActive.
func (i *Inspector) Strays(ctx context.Context, owner string) (strays int, err error) {
	if err := checkOwner(owner); err != nil {
		return 0, err
	}
	for raw, err := range taskstore.All(ctx, i.backend, activeKey(owner, "")) {
		if err != nil {
			if errors.Is(err, taskstore.ErrCorrupt) {
				strays++
				continue
			}
			return strays, err
		}
		t, err := i.Get(ctx, owner, raw.Key.Task)
		switch {
		case err == nil && !t.Status.Terminal(), cannotRead(err):
			continue
		case err != nil && !errors.Is(err, ErrNotFound):
			return strays, err
		}
		// The task may have ended after the entry was listed.
		if again, err := i.backend.Get(ctx, raw.Key); err == nil && again.Version == raw.Version {
			strays++
		} else if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
			return strays, err
		}
	}
	return strays, nil
}

// RegistryStrays returns how many entries of the registry of resumable tasks, of all
// owners, belong to a task that does not exist: [Store.Orphans] removes those of its
// service.
func (i *Inspector) RegistryStrays(ctx context.Context) (strays int, err error) {
	now, err := taskstore.Now(ctx, i.backend)
	if err != nil {
		return 0, err
	}
	for _, bucket := range buckets {
		for raw, err := range taskstore.All(ctx, i.backend, taskstore.Key{Owner: registryPrefix + string(bucket)}) {
			if errors.Is(err, taskstore.ErrCorrupt) {
				strays++
				continue
			}
			if err != nil {
				return strays, err
			}
			e, err := decodeEntry(raw.Data)
			if errors.Is(err, ErrFormat) {
				continue
			}
			if err != nil {
				strays++
				continue
			}
			switch _, err := i.Get(ctx, e.owner, e.id); {
			case errors.Is(err, ErrNotFound):
				if now.Sub(e.createdAt) > entryGrace { // otherwise it may be about to be created
					strays++
				}
			case err != nil && !cannotRead(err):
				return strays, err
			}
		}
	}
	return strays, nil
}

// ErrNoTask says that a record among an owner's tasks is not a task: another version of
// this package, or another program, wrote it.
var ErrNoTask = errors.New("tasks: a record among the tasks is not a task")

// storedOf decodes a record from the backend.
func storedOf(raw taskstore.Record) (Stored, error) {
	if !validID(raw.Key.Task) {
		return Stored{}, ErrNoTask
	}
	r, err := recordOf(raw)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Task: r.Task, Bytes: len(raw.Data)}, nil
}

// unreadableOf names a record that cannot be read.
func unreadableOf(raw taskstore.Record) Stored {
	owner, id := named(raw.Key)
	return Stored{Task: Task{Owner: owner, ID: id}, Bytes: len(raw.Data)}
}
