package mcptasks_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/taskstore/taskstore"
)

// The calls to the store for one request are bounded; they do not grow with the request.

// strangers are ids that no task has.
func strangers(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("8c9a1c52-32f5-4a9e-9d61-%012x", i))
	}
	return ids
}

func TestListenLooksAtMaxListenTasksAtMost(t *testing.T) {
	opts := fast()
	opts.MaxListen = 3
	store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
	r := start(t, store, opts, asking)
	c := r.as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	unknown := strangers(500)
	for _, asked := range [][]string{
		append(unknown[:2:2], append([]string{unknown[0], id}, unknown...)...),
		append(unknown, id),
	} {
		store.taken()
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := c.http.Do(c.request(ctx, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": asked}}))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("HTTP %d", resp.StatusCode)
		}
		cancel()
		_ = resp.Body.Close()
		if gets := store.taken()["Get"]; gets < 3 || gets > 3+2 { // follow reads too, if there is a task to follow
			t.Errorf("%d ids: %d reads", len(asked), gets)
		}
	}
}

// together is a store that holds reads back until some are there at once.
type together struct {
	taskstore.StorageBackend
	want int

	mu        sync.Mutex
	now, most int
	once      sync.Once
	enough    chan struct{}
}

func (s *together) Get(ctx context.Context, key taskstore.Key) (taskstore.Record, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	if s.now == s.want {
		s.once.Do(func() { close(s.enough) })
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	select {
	case <-s.enough:
	case <-time.After(5 * time.Second): // they do not come
		s.once.Do(func() { close(s.enough) })
	}
	return s.StorageBackend.Get(ctx, key)
}

// An acknowledgement does not wait for one read after the other, and does not
// come as one blow to the store.
func TestListenLooksSideBySide(t *testing.T) {
	store := &together{StorageBackend: memory(), want: 16, enough: make(chan struct{})}
	c := start(t, store, nil, asking).as("alice")
	events := c.listen(t.Context(), map[string]any{"taskIds": strangers(64)})
	next(t, events)
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.most != store.want {
		t.Errorf("%d reads at once", store.most)
	}
}

func TestUpdateReadsTheTaskOnceForAllAnswers(t *testing.T) {
	opts := fast()
	opts.Tasks.MaxInputKeys = 300
	store := &counted{StorageBackend: memory(), calls: make(map[string]int)}
	c := start(t, store, opts, asking).as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	answers := func(n int) map[string]any {
		m := make(map[string]any)
		for i := range n {
			m[fmt.Sprint("invented", i)] = 42
		}
		return m
	}
	store.taken()
	if got := c.update(id, answers(300)); got.Error != nil {
		t.Errorf("answers to no question: %v", got)
	}
	if gets := store.taken()["Get"]; gets > 2 { // one to look, one to write
		t.Errorf("300 answers: %d reads", gets)
	}
	if got := c.update(id, map[string]any{}); got.Error != nil {
		t.Errorf("no answer: %v", got)
	}
	if gets := store.taken()["Get"]; gets > 1 { // no key is unknown
		t.Errorf("no answer: %d reads", gets)
	}
	if got := c.update(id, answers(301)); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("more answers than there can be questions: %v", got)
	}
	if calls := store.taken(); len(calls) != 0 {
		t.Errorf("more answers than there can be questions came to the store: %v", calls)
	}
}
