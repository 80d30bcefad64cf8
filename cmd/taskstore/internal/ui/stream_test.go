package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A list has the tasks that are chosen, the newest first.
func TestTasksAreChosen(t *testing.T) {
	w := newWorld(t)
	orphan := w.ago(20*time.Minute).id("n:bob", "render")
	kept := w.ago(15*time.Minute).create("n:alice", "search")
	old := kept.Task().ID
	done := w.ago(2*time.Second).create("n:alice", "search")
	_, err := done.Complete(t.Context(), json.RawMessage(`{}`))
	require.NoError(t, err)
	fresh := w.ago(0).id("n:alice", "")
	_, err = kept.Renew(t.Context())
	require.NoError(t, err)
	s := serve(t, w, Options{})
	bob := newLabels().of("n:bob")
	require.Len(t, bob, 8)
	all := next(t, s.listen("/api/events/tasks"), "tasks", always[view])
	label := all.Rows[len(all.Rows)-1].Owner
	for query, want := range map[string][]string{
		"":                                {fresh, done.Task().ID, old, orphan},
		"status=completed":                {done.Task().ID},
		"tool=search":                     {done.Task().ID, old},
		"tool=":                           {fresh},
		"owner=n:bob":                     {orphan},
		"owner=" + label:                  {orphan},
		"owner=" + bob:                    {},
		"orphans=1":                       {orphan},
		"older=10m":                       {old, orphan},
		"older=10m&owner=n:alice":         {old},
		"id=" + orphan[:9]:                {orphan},
		"id=" + orphan + "0":              {},
		"status=working&tool=search":      {old},
		"before=" + all.Rows[0].place():   {done.Task().ID, old, orphan},
		"before=0-" + uuid.NewString():    {},
		"tool=" + url.QueryEscape("\x00"): {},
	} {
		v := next(t, s.listen("/api/events/tasks?"+query), "tasks", always[view])
		ids := []string{}
		for _, r := range v.Rows {
			ids = append(ids, r.ID)
		}
		assert.Equal(t, want, ids, query)
	}
	for _, query := range []string{"status=wrong", "older=x", "older=-1s", "before=x"} {
		assert.Equal(t, http.StatusBadRequest, s.ask("GET", "/api/events/tasks?"+query, "").StatusCode, query)
	}
}

func (r *row) place() string { return mark{r.CreatedAt.UnixMilli(), r.ID}.String() }

// Pages hold so many tasks each; all of them together have each task once.
func TestAListHasPages(t *testing.T) {
	w := newWorld(t)
	seen := make(map[string]bool)
	for n := range 2*pageSize + 7 {
		w.ago(time.Duration(n)*time.Second).id(fmt.Sprintf("n:user-%d", n%3), "render")
	}
	s := serve(t, w, Options{})
	before := ""
	for _, size := range []int{pageSize, pageSize, 7} {
		v := next(t, s.listen("/api/events/tasks?before="+before), "tasks", always[view])
		require.Len(t, v.Rows, size)
		assert.Equal(t, 2*pageSize+7, v.Found)
		for i, r := range v.Rows {
			assert.False(t, seen[r.ID])
			seen[r.ID] = true
			assert.True(t, i == 0 || !r.CreatedAt.After(v.Rows[i-1].CreatedAt))
		}
		before = v.Next
	}
	assert.Empty(t, before)
}

// The page shows a change when the store hints it: the interval is too long to be the cause.
func TestAListIsLive(t *testing.T) {
	w := newWorld(t)
	run := w.create("n:alice", "render")
	id := run.Task().ID
	s := serve(t, w, Options{Interval: time.Hour})
	list, one := s.listen("/api/events/tasks"), s.listen("/api/events/task?id="+id)
	v := next(t, list, "tasks", always[view])
	assert.Equal(t, feedState{Owners: 1, Watched: 1}, v.Feed)
	next(t, one, "task", always[taskPage])
	_, err := run.SetProgress(t.Context(), tasks.Progress{Current: 3, Total: 9}, "page 3")
	require.NoError(t, err)
	r := next(t, list, "row", func(r row) bool { return r.Message == "page 3" })
	assert.Equal(t, id, r.ID)
	assert.Equal(t, &tasks.Progress{Current: 3, Total: 9}, r.Progress)
	p := next(t, one, "task", func(p taskPage) bool { return p.Task.StatusMessage == "page 3" })
	assert.True(t, p.Watched)
	second := w.id("n:alice", "render")
	next(t, list, "tasks", func(v view) bool { return v.Found == 2 && v.Rows[0].ID == second })
	_, err = run.Complete(t.Context(), json.RawMessage(`{}`))
	require.NoError(t, err)
	next(t, list, "tasks", func(v view) bool {
		return v.Tools[0].ByStatus[tasks.Completed] == 1 && v.Rates.Completed[minutes-1] == 1
	})
	next(t, one, "task", func(p taskPage) bool { return p.Task.Status == "completed" })
	require.NoError(t, w.store.Delete(t.Context(), "n:alice", id))
	next(t, one, "gone", always[map[string]string])
	next(t, list, "tasks", func(v view) bool { return v.Found == 1 })
}

// unwatched is a store that tells of no change.
type unwatched struct {
	taskstore.StorageBackend
	looks atomic.Int64 // at the owners
	fails atomic.Pointer[error]
}

func (b *unwatched) Owners(ctx context.Context) iter.Seq2[string, error] {
	b.looks.Add(1)
	if err := b.fails.Load(); err != nil {
		return func(yield func(string, error) bool) { yield("", *err) }
	}
	lister, _ := taskstore.As[taskstore.OwnerLister](b.StorageBackend)
	return lister.Owners(ctx)
}

// A store that tells of no change is looked at from time to time, and the page says so.
func TestAStoreWithoutHintsIsPolled(t *testing.T) {
	w := newWorld(t)
	run := w.create("n:alice", "render")
	b := &unwatched{StorageBackend: w}
	s := serve(t, b, Options{Interval: 20 * time.Millisecond})
	list, one := s.listen("/api/events/tasks"), s.listen("/api/events/task?id="+run.Task().ID)
	v := next(t, list, "tasks", func(v view) bool { return v.Feed.Reason != "" })
	assert.Equal(t, feedState{Owners: 1, Reason: "this store sends no hints of changes"}, v.Feed)
	next(t, one, "task", func(p taskPage) bool { return !p.Watched })
	_, err := run.SetStatusMessage(t.Context(), "half")
	require.NoError(t, err)
	next(t, list, "tasks", func(v view) bool { return v.Rows[0].Message == "half" })
	next(t, one, "task", func(p taskPage) bool { return p.Task.StatusMessage == "half" })
}

// While no page is open the store rests; a page that is opened is given a view at once.
func TestAStoreRestsWhileNoPageIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.id("n:alice", "render")
		b := &unwatched{StorageBackend: w}
		k := newLooker(b, tasks.NewInspector(b), newLabels(), Options{Interval: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); k.run(ctx) }()
		time.Sleep(time.Hour)
		assert.Zero(t, b.looks.Load())
		for range 2 {
			p := k.open(query{})
			synctest.Wait()
			v, _, _ := p.take()
			require.NotNil(t, v)
			before := b.looks.Load()
			time.Sleep(time.Minute)
			assert.InDelta(t, 60, b.looks.Load()-before, 1)
			k.close(p)
			synctest.Wait()
			before = b.looks.Load()
			time.Sleep(time.Hour)
			assert.Equal(t, before, b.looks.Load())
		}
		cancel()
		<-ended
	})
}

// The page names the store's fault in the words of the command, and recovers.
func TestAPageNamesTheFaultOfTheStore(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	b := &unwatched{StorageBackend: w}
	denied := errors.New("taskstore: NOPERM User redis has no permissions to run the 'scan' command")
	b.fails.Store(&denied)
	s := serve(t, b, Options{Interval: 20 * time.Millisecond})
	list := s.listen("/api/events/tasks")
	said := next(t, list, "problem", always[map[string]string])
	assert.Contains(t, said["error"], "grant +scan, or name one owner by --owner")
	r := s.ask("GET", "/api/events/task?id="+id, "")
	assert.Equal(t, http.StatusBadGateway, r.StatusCode)
	assert.Contains(t, r.body, "grant +scan")
	b.fails.Store(nil)
	next(t, list, "tasks", func(v view) bool { return v.Found == 1 })
}

// More owners than are watched at once are looked at from time to time, and all are listed.
func TestManyOwnersAreWatchedInPart(t *testing.T) {
	w := newWorld(t)
	for n := range maxWatched + 6 {
		w.id(fmt.Sprintf("n:user-%02d", n), fmt.Sprintf("tool-%02d", n))
	}
	s := serve(t, w, Options{Interval: 20 * time.Millisecond})
	list := s.listen("/api/events/tasks")
	v := next(t, list, "tasks", always[view])
	assert.Equal(t, feedState{Owners: maxWatched + 6, Watched: maxWatched, Reason: "too many owners to watch"}, v.Feed)
	last := fmt.Sprintf("n:user-%02d", maxWatched+5)
	w.id(last, "late")
	next(t, list, "tasks", func(v view) bool { return v.Found == maxWatched+7 })
}

// So many pages may be open; one that closes makes room.
func TestPagesAreLimited(t *testing.T) {
	s := serve(t, newWorld(t), Options{})
	ctx, leave := context.WithCancel(t.Context())
	for range maxStreams {
		r, err := http.NewRequestWithContext(ctx, "GET", s.url+"/api/events/tasks", nil)
		require.NoError(t, err)
		response, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	r := s.ask("GET", "/api/events/tasks", "")
	assert.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	assert.Contains(t, r.body, "too many pages")
	assert.Equal(t, http.StatusOK, s.ask("GET", "/api/config", "").StatusCode)
	leave()
	require.Eventually(t, func() bool { return s.ask("GET", "/api/events/tasks", "").StatusCode == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
}

// A browser that leaves before its stream has begun takes no room.
func TestAStreamThatDoesNotBeginMakesRoom(t *testing.T) {
	w := newWorld(t)
	s := newServer(w, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Options{Interval: time.Second})
	for _, path := range []string{"/api/events/tasks", "/api/events/task?id=" + w.id("n:alice", "render")} {
		for range maxStreams + 1 {
			r := httptest.NewRequest("GET", "http://localhost"+path, nil)
			gone := httptest.NewRecorder() // which has no deadline, so no stream begins
			s.handler().ServeHTTP(gone, r)
			require.Equal(t, http.StatusOK, gone.Code, gone.Body)
		}
	}
}

// Records that cannot be read are counted, and the rest is shown.
func TestUnreadableTasksAreCounted(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	broken := w.id("n:alice", "search")
	records, err := w.ListByPrefix(t.Context(), taskstore.Key{Owner: "u:n:alice"})
	require.NoError(t, err)
	for _, r := range records {
		if r.Key.Task == broken {
			r.Data = []byte("rubbish")
			_, err := w.Put(t.Context(), r.Key, r.Value)
			require.NoError(t, err)
		}
	}
	s := serve(t, w, Options{})
	v := next(t, s.listen("/api/events/tasks"), "tasks", always[view])
	assert.Equal(t, 1, v.Unreadable)
	assert.Equal(t, 1, v.Found)
	assert.Equal(t, id, v.Rows[0].ID)
	said := next(t, s.listen("/api/events/task?id="+broken), "problem", always[map[string]string])
	assert.NotContains(t, said["error"], "rubbish")
}
