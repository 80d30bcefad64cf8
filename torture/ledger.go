package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// A Ledger is a set of records to which writers append, with the answers that they
// received. Each record lists the ids of the writes that made it, in order, so in the end
// it shows which writes took effect and which version each made.
type Ledger struct {
	Owner string
	Name  string

	mu       sync.Mutex
	told     map[string]told // by the id of the write
	pages    int
	ids      int
	latest   time.Time // the latest success
	longest  time.Duration
	failures []error
}

// told is the answer that a writer received to a write.
type told struct {
	page    int
	kind    kind
	version taskstore.Version
}

type kind int

const (
	acknowledged kind = iota
	refused           // by a conflict or an error that says that it had no effect
	undecided
)

// pageLength is the number of writes to one record; the next write begins a new record.
const pageLength = 100

func (l *Ledger) key(page int) taskstore.Key {
	return taskstore.Key{Owner: l.Owner, Task: fmt.Sprintf("%s-%d", l.Name, page)}
}

// A Writer appends to a ledger. A ledger may have several.
type Writer struct {
	Ledger  *Ledger
	Backend taskstore.StorageBackend

	page    int
	version taskstore.Version
	ids     []string
	known   bool // ids are those of the page
}

// Append makes one write and reports whether it was acknowledged.
func (w *Writer) Append(ctx context.Context) bool {
	if !w.known && !w.look(ctx) {
		return false
	}
	if w.version >= pageLength {
		w.page, w.version, w.ids = w.page+1, 0, nil
		return w.look(ctx) && w.Append(ctx)
	}
	id := w.Ledger.newID(w.page)
	ids := append(slices.Clip(w.ids), id)
	v, err := w.Backend.PutIfVersion(ctx, w.Ledger.key(w.page), taskstore.Value{Data: []byte(strings.Join(ids, " "))}, w.version)
	w.Ledger.note(id, told{w.page, kindOf(err), v}, err)
	if err != nil {
		w.known = false
		return false
	}
	w.version, w.ids = v, ids
	return true
}

func kindOf(err error) kind {
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return undecided
	}
	return refused
}

// look reads the writer's page.
func (w *Writer) look(ctx context.Context) bool {
	rec, err := w.Backend.Get(ctx, w.Ledger.key(w.page))
	if err != nil && !errors.Is(err, taskstore.ErrNotFound) {
		return false
	}
	w.version, w.ids, w.known = rec.Version, strings.Fields(string(rec.Data)), true
	return true
}

func (l *Ledger) newID(page int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids++
	l.pages = max(l.pages, page+1)
	return fmt.Sprint(l.ids)
}

func (l *Ledger) note(id string, t told, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		l.told = make(map[string]told)
	}
	l.told[id] = t
	if t.kind == acknowledged {
		now := time.Now()
		if !l.latest.IsZero() {
			l.longest = max(l.longest, now.Sub(l.latest))
		}
		l.latest = now
	} else if t.kind == refused && !errors.Is(err, taskstore.ErrVersionConflict) {
		l.failures = append(l.failures, err)
	}
}

// An Audit counts writes by their answer and by the records found.
type Audit struct {
	Acknowledged   int
	Lost           int // acknowledged, but absent
	WrongSuccesses int // acknowledged with another version, or present twice
	WrongConflicts int // refused, but present
	Unknown        int // undecided
	Failed         int // refused with an error other than a conflict
	Longest        time.Duration
}

// Add adds another audit.
func (a *Audit) Add(other Audit) {
	a.Acknowledged += other.Acknowledged
	a.Lost += other.Lost
	a.WrongSuccesses += other.WrongSuccesses
	a.WrongConflicts += other.WrongConflicts
	a.Unknown += other.Unknown
	a.Failed += other.Failed
	a.Longest = max(a.Longest, other.Longest)
}

// Audit compares the writers' answers with the records of b. The writers must have stopped.
func (l *Ledger) Audit(ctx context.Context, b taskstore.StorageBackend) (Audit, error) {
	found := make(map[string][]taskstore.Version)
	for page := range l.pages {
		rec, err := b.Get(ctx, l.key(page))
		if errors.Is(err, taskstore.ErrNotFound) {
			continue
		} else if err != nil {
			return Audit{}, err
		}
		ids := strings.Fields(string(rec.Data))
		if len(ids) != int(rec.Version) {
			return Audit{}, fmt.Errorf("version %d of a record holds %d writes", rec.Version, len(ids))
		}
		for i, id := range ids {
			found[id] = append(found[id], taskstore.Version(i+1))
		}
	}
	a := Audit{Failed: len(l.failures), Longest: l.longest}
	for id, t := range l.told {
		versions := found[id]
		switch t.kind {
		case acknowledged:
			a.Acknowledged++
			if len(versions) == 0 {
				a.Lost++
			} else if len(versions) > 1 || versions[0] != t.version {
				a.WrongSuccesses++
			}
		case refused:
			if len(versions) > 0 {
				a.WrongConflicts++
			}
		case undecided:
			a.Unknown++
			if len(versions) > 1 {
				a.WrongSuccesses++
			}
		}
	}
	return a, nil
}
