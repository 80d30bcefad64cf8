//go:build integration

package ui

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A browser is a tab without a window.
type browser struct {
	t       *testing.T
	ctx     context.Context
	expects atomic.Bool // that the policy forbids something, once
}

// chromium starts the browser of all tests, which TestMain ends.
var chromium = sync.OnceValues(func() (context.Context, error) {
	find := exec.Command("bash", "../../../../scripts/ensure-chromium.sh")
	find.Stderr = os.Stderr
	program, err := find.Output()
	if err != nil {
		return nil, fmt.Errorf("scripts/ensure-chromium.sh finds or installs the browser: %w", err)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(strings.TrimSpace(string(program))),
		chromedp.NoSandbox, // root has no sandbox
		chromedp.DisableGPU,
	)...)
	ctx, cancel := chromedp.NewContext(allocator)
	endChromium = func() { cancel(); stop() }
	return ctx, chromedp.Do(ctx)
})

var endChromium = func() {}

func TestMain(m *testing.M) {
	defer func() { endChromium() }()
	m.Run()
}

// newBrowser opens a tab with cookies of its own. The test fails at every error that a page
// logs, violations of the policy included, and at every dialog that a script opens.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	all, err := chromium()
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(all, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

func (b *browser) hear(e any) {
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		b.t.Errorf("a script failed: %s", e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if strings.Contains(e.Entry.Text, "This document requires 'Trusted") && b.expects.CompareAndSwap(true, false) {
			return
		}
		// The browser logs refusals of the server too; for these, tests look at the page's text.
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "the server responded with a status of 4") {
			b.t.Errorf("the browser says: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *cdppage.EventJavascriptDialogOpening:
		b.t.Errorf("a script ran: %s", e.Message)
	}
}

// patience is how long the browser may take for one thing.
const patience = 30 * time.Second

// do has the browser do things.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.shoot("failed")
		require.NoError(b.t, err)
	}
}

// eval returns the value of an expression of JavaScript.
func eval[T any](b *browser, expression string, args ...any) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](fmt.Sprintf(expression, args...)))
	require.NoError(b.t, err, expression)
	return v
}

// until waits for an expression to be true.
func (b *browser) until(expression string, args ...any) {
	b.t.Helper()
	for end := time.Now().Add(patience); !eval[bool](b, "!!(%s)", fmt.Sprintf(expression, args...)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.shoot("failed")
			require.FailNow(b.t, "the page does not get there", expression+"\n"+b.text("body"), args)
		}
	}
}

// text returns the text of the first element that is selected.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, "document.querySelector(%q)?.textContent ?? ''", selector)
}

// look has the browser be of a size and prefer a scheme of colours.
func (b *browser) look(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
}

// shoot keeps a picture of the page in the directory that TASKSTORE_SCREENSHOTS names.
func (b *browser) shoot(name string) {
	dir := os.Getenv("TASKSTORE_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if !assert.NoError(b.t, err) {
		return
	}
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}
