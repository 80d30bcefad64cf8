//go:build integration

package ui

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/tasks"
)

const (
	rows = "document.querySelectorAll('.tasks tbody tr').length"
	// choose sets a control of the form and says so, as a person does.
	choose = "(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event('change')); return true })()"
)

// An operator finds a task, sees it go on, and cancels it.
func TestAnOperatorFollowsAndCancelsATask(t *testing.T) {
	w := newWorld(t)
	other := w.ago(30*time.Minute).create("n:bob", "search")
	_, err := other.Complete(t.Context(), json.RawMessage(`{}`))
	require.NoError(t, err)
	run := w.ago(0).create("n:alice", "render")
	id := run.Task().ID
	s := serve(t, w, Options{Write: true, Payload: true, Interval: time.Hour}) // only the store's hints refresh the page
	b := newBrowser(t)

	b.do(chromedp.Navigate(s.url + "/"))
	b.until("%s === 2", rows)
	assert.Equal(t, id, b.text(".tasks tbody tr:first-child .id"), "the newest is the first")
	assert.Equal(t, "can cancel", b.text("#mode"))
	assert.NotContains(t, b.text("body"), "alice")

	eval[bool](b, choose, "select[name=status]", "completed")
	b.until("%s === 1 && location.hash.includes('status=completed')", rows)
	assert.Equal(t, other.Task().ID, b.text(".tasks .id"))
	eval[bool](b, choose, "select[name=tool]", "=render")
	b.until("%s === 0 && !document.querySelector('.empty').hidden", rows)
	eval[bool](b, choose, "select[name=status]", "")
	b.until("%s === 1 && document.querySelector('.tasks .id').textContent === %q", rows, id)
	b.do(chromedp.NavigateBack())
	b.until("%s === 0", rows)
	b.do(chromedp.Click(chromedp.CSS(".filters a.button")))
	b.until("%s === 2", rows)

	_, err = run.SetProgress(t.Context(), tasks.Progress{Current: 3, Total: 9}, "page 3 of 9")
	require.NoError(t, err)
	b.until("document.querySelector('.tasks tbody tr:first-child .message').textContent === 'page 3 of 9'")
	third := w.id("n:alice", "third")
	b.until("%s === 3 && document.querySelector('.tasks .id').textContent === %q", rows, third)

	// By the keyboard alone.
	b.do(chromedp.Focus(chromedp.CSS("#search-id")), chromedp.KeyEvent(id[:9]), chromedp.KeyEvent(kb.Enter))
	b.until("%s === 1 && document.querySelector('.tasks .id').textContent === %q", rows, id)
	b.do(chromedp.Focus(chromedp.CSS(".tasks .id")), chromedp.KeyEvent(kb.Enter))
	b.until("document.querySelector('h1')?.textContent === 'render' && document.querySelector('#cancel')")
	assert.Contains(t, b.text(".timeline"), "created")
	assert.Contains(t, b.text(".facts"), "replica-1")

	_, err = run.SetProgress(t.Context(), tasks.Progress{Current: 4, Total: 9}, "page 4 of 9")
	require.NoError(t, err)
	b.until("document.querySelector('.says').textContent === 'page 4 of 9' && document.querySelector('progress').value === 4")
	b.until("document.querySelectorAll('.seen li').length === 2")

	assert.NotContains(t, b.text("main"), "secret")
	b.do(chromedp.Click(chromedp.CSS("#show-payload")))
	b.until("document.querySelector('pre')?.textContent.includes('\"secret\": \"argument\"')")

	b.do(chromedp.Click(chromedp.CSS("#cancel")), chromedp.Click(chromedp.CSS("dialog button:not(.danger)")))
	requested := func() bool {
		task, err := w.store.Get(t.Context(), "n:alice", id)
		require.NoError(t, err)
		return task.CancelRequested
	}
	assert.False(t, requested(), "it was kept")
	b.do(chromedp.Click(chromedp.CSS("#cancel")), chromedp.Click(chromedp.CSS("#cancel-sure")))
	b.until("document.querySelector('.status').textContent === 'working, cancelling' && document.querySelector('.done').textContent === 'its runner is asked to end it'")
	assert.True(t, requested())
	_, err = run.Cancelled(t.Context())
	require.NoError(t, err)
	b.until("document.querySelector('.status').textContent === 'cancelled' && !document.querySelector('#cancel')")
	require.NoError(t, w.store.Delete(t.Context(), "n:alice", id))
	b.until("document.querySelector('#problem').textContent.startsWith('The task has expired or was deleted')")

	b.do(chromedp.SendKeys(chromedp.CSS("#search-id"), id+kb.Enter))
	b.until("document.querySelector('main').textContent.includes('There is no such task')")
}

// A page that only reads has no button, and the server refuses a request made by hand.
func TestAReadOnlyPageHasNoButton(t *testing.T) {
	w := newWorld(t)
	id := w.id("n:alice", "render")
	s := serve(t, w, Options{})
	b := newBrowser(t)
	b.do(chromedp.Navigate(s.url + "/#/task/" + id))
	b.until("document.querySelectorAll('.timeline li').length > 1")
	assert.Equal(t, "read-only", b.text("#mode"))
	assert.False(t, eval[bool](b, "!!document.querySelector('#cancel, #show-payload, .danger')"))
	eval[bool](b, `(async () => {
		const { csrf } = await (await fetch("/api/config")).json();
		const answer = await fetch("/api/cancel", { method: "POST", headers: { "X-Taskstore-CSRF": csrf }, body: JSON.stringify({ id: %q }) });
		window.answered = answer.status;
	})() instanceof Promise`, id)
	b.until("window.answered")
	assert.Equal(t, http.StatusForbidden, eval[int](b, "window.answered"))
	task, err := w.store.Get(t.Context(), "n:alice", id)
	require.NoError(t, err)
	assert.False(t, task.CancelRequested)
}

// Texts that servers and clients store stay text in every part of the page.
func TestAScriptStaysText(t *testing.T) {
	const script = `<script>window.pwned=1</script><img src=x onerror="window.pwned=1"><b id=planted>`
	w := newWorld(t)
	name, err := json.Marshal(script)
	require.NoError(t, err)
	task, _, err := w.store.Create(t.Context(), "n:"+script, tasks.CreateParams{
		Request: json.RawMessage(`{"name":` + string(name) + `}`), StatusMessage: script + "\u202e", Holder: script, Service: script,
	})
	require.NoError(t, err)
	s := serve(t, w, Options{Write: true, Owners: true, Payload: true})
	b := newBrowser(t)
	stays := func() {
		t.Helper()
		assert.True(t, eval[bool](b, "window.pwned === undefined && !document.querySelector('#planted, main script, main img')"))
	}
	b.do(chromedp.Navigate(s.url + "/"))
	b.until("%s === 1 && document.querySelectorAll('.numbers tbody tr').length === 1", rows)
	row := b.text(".tasks tbody tr")
	for range 2 { // each of owner, tool and message
		assert.Contains(t, row, script)
		row = row[len(script):]
	}
	assert.Equal(t, script, b.text(".numbers tbody th"))
	assert.Equal(t, script, b.text("select[name=tool] option:last-child"))
	stays()
	b.do(chromedp.Click(chromedp.CSS(".tasks a.id")))
	b.until("document.querySelector('h1 bdi')?.textContent === %q", script)
	assert.Equal(t, script+"\u202e", b.text(".says"))
	assert.Contains(t, b.text(".facts"), "n:"+script)
	assert.Contains(t, b.text(".timeline"), "now by "+script)
	b.do(chromedp.Click(chromedp.CSS("#show-payload")))
	b.until("document.querySelector('pre')")
	stays()
	eval[bool](b, choose, "#search-id", script)
	b.do(chromedp.Navigate(s.url + "/#/task/" + task.ID + "%3Cimg%20src=x%20onerror=%22window.pwned=1%22%3E"))
	b.until("!document.querySelector('#problem').hidden")
	stays()
	// The policy holds even against a script of ours that would make an element of it.
	b.expects.Store(true)
	assert.Contains(t, eval[string](b, "(() => { try { document.body.innerHTML = %q; return '' } catch (err) { return err.message } })()", script), "TrustedHTML")
	require.Eventually(t, func() bool { return !b.expects.Load() }, patience, 10*time.Millisecond)
	stays()
}

// A browser logs in with the token; when the command has ended the page says so.
func TestABrowserLogsIn(t *testing.T) {
	w := newWorld(t)
	w.id("n:alice", "render")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l, err := Listen("127.0.0.1:0", testToken)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, w, Options{Token: testToken, Interval: time.Second}) }()
	b := newBrowser(t)
	b.do(chromedp.Navigate("http://" + l.Addr().String() + "/"))
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"+kb.Enter))
	b.until("document.querySelector('#problem').textContent === 'wrong token'")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), testToken+kb.Enter))
	b.until("%s === 1", rows)
	assert.Empty(t, eval[string](b, "document.cookie"), "scripts do not see it")
	b.do(chromedp.Reload())
	b.until("%s === 1", rows)
	began := time.Now()
	stop()
	assert.ErrorIs(t, <-ended, context.Canceled)
	assert.Less(t, time.Since(began), shutdownTime, "the streams have ended")
	b.until("document.querySelector('#live').textContent === 'reconnecting'")
}
