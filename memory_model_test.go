package taskstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A model is the contract in its simplest form: one map, and no care for cost.
type model struct {
	records map[Key]modelRecord
	created int
	limit   int
}

type modelRecord struct {
	Record
	place int // in order of creation
}

// live drops expired records.
func (m *model) live() {
	now := time.Now().UnixMilli()
	maps.DeleteFunc(m.records, func(_ Key, r modelRecord) bool { return !r.ExpiresAt.IsZero() && r.ExpiresAt.UnixMilli() < now })
}

func (m *model) write(w Write, limit int) error {
	m.live()
	old, exists := m.records[w.Key]
	switch {
	case w.Expected != AnyVersion && w.Expected != old.Version:
		return &VersionConflictError{Key: w.Key, Expected: w.Expected, Actual: old.Version}
	case !w.ExpiresAt.IsZero() && w.ExpiresAt.UnixMilli() <= time.Now().UnixMilli():
		delete(m.records, w.Key)
		return nil
	case !exists:
		if n := len(m.list(Key{Owner: w.Key.Owner, Collection: w.Key.Collection})); limit > 0 && n >= limit {
			return &CapacityError{Limit: LimitRecords, Max: uint64(limit), Asked: uint64(n) + 1}
		}
		m.created++
		old.place = m.created
	}
	m.records[w.Key] = modelRecord{Record{w.Key, old.Version + 1, w.Value}, old.place}
	return nil
}

func (m *model) batch(writes []Write) error {
	before, created := maps.Clone(m.records), m.created
	for i, w := range writes {
		limit := m.limit
		if w.MaxRecords != 0 {
			limit = max(w.MaxRecords, 0)
		}
		if err := m.write(w, limit); err != nil {
			m.records, m.created = before, created
			return &BatchError{Index: i, Err: err}
		}
	}
	return nil
}

func (m *model) list(prefix Key) (records []Record) {
	m.live()
	all := slices.SortedFunc(maps.Values(m.records), func(a, b modelRecord) int { return a.place - b.place })
	for _, r := range all {
		if r.Key.Owner == prefix.Owner && r.Key.Collection == prefix.Collection && strings.HasPrefix(r.Key.Task, prefix.Task) {
			records = append(records, r.Record)
		}
	}
	return records
}

// A chooser makes random calls that meet each other often.
type chooser struct{ *rand.Rand }

func (c chooser) key() Key {
	return Key{Owner: c.of("a", "ab", "b"), Collection: c.of("", "b", "c"), Task: c.of("1", "2", "12", "b")}
}

func (c chooser) of(list ...string) string { return list[c.IntN(len(list))] }

func (c chooser) value() Value {
	v := Value{Data: []byte(c.of("x", "y", "zz"))}
	switch c.IntN(6) {
	case 0:
		v.ExpiresAt = time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()
	case 1, 2:
		v.ExpiresAt = time.Now().Add(time.Duration(c.IntN(50)) * time.Millisecond).Truncate(time.Millisecond).UTC()
	}
	return v
}

// version is often the right one.
func (c chooser) version(m *model, key Key) Version {
	m.live()
	if v := m.records[key].Version; c.IntN(5) > 0 {
		return v
	}
	return Version(c.IntN(4))
}

func (c chooser) batch(m *model) (writes []Write) {
	first := c.key()
	seen := map[Key]bool{}
	for range 1 + c.IntN(6) {
		key := c.key()
		key.Owner = first.Owner
		if seen[key] {
			continue
		}
		seen[key] = true
		w := Write{Key: key, Value: c.value(), Expected: c.version(m, key), MaxRecords: []int{0, 0, 0, -1, 1, 3}[c.IntN(6)]}
		if len(writes) > 0 && c.IntN(3) == 0 {
			w.Expected = AnyVersion
		}
		writes = append(writes, w)
	}
	return writes
}

// After any calls in any order, a MemoryBackend answers as the model does and holds no more.
func TestMemoryIsAsTheModel(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { compareWithModel(t, seed, 400) })
	}
}

func FuzzMemoryIsAsTheModel(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { compareWithModel(t, seed, 400) })
	})
}

func compareWithModel(t *testing.T, seed uint64, calls int) {
	c := chooser{rand.New(rand.NewPCG(seed, 0))}
	limit := []int{0, 1, 2, 3}[c.IntN(4)]
	m, want := NewMemoryBackend(&MemoryOptions{MaxRecordsPerOwner: limit}), &model{records: map[Key]modelRecord{}, limit: limit}
	ctx := t.Context()
	for call := range calls {
		key := c.key()
		var did string
		var gotErr, wantErr error
		switch c.IntN(8) {
		case 0:
			did = "Put"
			v := c.value()
			_, gotErr = m.Put(ctx, key, v)
			wantErr = want.write(Write{Key: key, Value: v, Expected: AnyVersion}, limit)
		case 1:
			did = "PutIfVersion"
			v, expected := c.value(), c.version(want, key)
			var made Version
			made, gotErr = m.PutIfVersion(ctx, key, v, expected)
			if wantErr = want.write(Write{Key: key, Value: v, Expected: expected}, limit); wantErr == nil {
				assert.Equal(t, expected+1, made)
			}
		case 2, 3, 4:
			writes := c.batch(want)
			did = fmt.Sprintf("PutBatch of %d", len(writes))
			gotErr, wantErr = m.PutBatch(ctx, writes), want.batch(writes)
		case 5:
			did = "Delete"
			want.live()
			_, exists := want.records[key]
			existed, err := m.Delete(ctx, key)
			assert.Equal(t, exists, existed)
			gotErr = err
			delete(want.records, key)
		case 6:
			did = "CleanupExpired"
			_, gotErr = m.CleanupExpired(ctx)
		case 7:
			did = "waiting"
			time.Sleep(time.Duration(c.IntN(20)) * time.Millisecond)
		}
		assert.Equal(t, wantErr, gotErr, "the error")
		if call%10 == 9 { // all of it costs far more than a call
			sameAsModel(t, m, want)
		}
		if t.Failed() {
			t.Fatalf("seed %d, limit %d, call %d: %s", seed, limit, call, did)
		}
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	want.live()
	require.Equal(t, len(want.records), m.held(), "expired records are reclaimed")
	for key := range want.records {
		_, err := m.Delete(ctx, key)
		require.NoError(t, err)
	}
	holdsNothing(t, m)
}

// sameAsModel compares all that a caller can read, and all that the backend holds.
func sameAsModel(t *testing.T, m *MemoryBackend, want *model) {
	t.Helper()
	ctx := context.Background()
	scopes := map[Key]bool{}
	for _, owner := range []string{"a", "ab", "b"} {
		for _, collection := range []string{"", "b", "c"} {
			for _, task := range []string{"", "1"} {
				prefix := Key{Owner: owner, Collection: collection, Task: task}
				expected := want.list(prefix)
				got, err := m.ListByPrefix(ctx, prefix)
				require.NoError(t, err)
				assert.Equal(t, expected, got)
				var paged []Record
				for cursor := ""; ; {
					page, next, err := m.ListPage(ctx, prefix, cursor, 2)
					require.NoError(t, err)
					if paged = append(paged, page...); next == "" {
						break
					}
					cursor = next
				}
				assert.Equal(t, expected, paged)
				if task == "" && len(expected) > 0 {
					scopes[prefix] = true
				}
			}
			for _, task := range []string{"1", "2", "12", "b"} {
				key := Key{Owner: owner, Collection: collection, Task: task}
				r, err := m.Get(ctx, key)
				if errors.Is(err, ErrNotFound) {
					r = Record{}
				}
				assert.Equal(t, want.records[key].Record, r)
			}
		}
	}
	held := 0
	each := func(c *memoryCollection) {
		held += len(c.tasks)
		assert.NotEmpty(t, c.tasks, "an empty collection is gone")
		assert.Equal(t, len(c.order), len(c.tasks)+c.removed)
		for i, r := range c.expiring {
			assert.Equal(t, i, r.heapIndex)
		}
		if len(c.expiring) > 0 {
			assert.Same(t, c, m.expiring[c.heapIndex])
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, c := range m.owners {
		each(c)
	}
	for _, c := range m.named {
		each(c)
	}
	assert.GreaterOrEqual(t, len(m.owners)+len(m.named), len(scopes))
	assert.GreaterOrEqual(t, held, len(want.records))
}

// holdsNothing checks that a backend whose records are gone is as new.
func holdsNothing(t *testing.T, m *MemoryBackend) {
	t.Helper()
	assert.Zero(t, m.held())
	assert.Empty(t, m.owners)
	assert.Empty(t, m.named)
	assert.Empty(t, m.expiring)
}
