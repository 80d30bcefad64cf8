//go:build integration

package ui

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// The page fits a telephone and a wide screen, in both schemes of colours. The test keeps
// pictures of it in the directory that TASKSTORE_SCREENSHOTS names.
func TestThePageFitsTheScreen(t *testing.T) {
	w := newWorld(t)
	w.fill()
	s := serve(t, w, Options{Write: true, Payload: true})
	b := newBrowser(t)
	for _, screen := range []struct {
		name, scheme  string
		width, height int64
	}{{"wide", "light", 1400, 1100}, {"narrow", "dark", 400, 1600}, {"wide", "dark", 1400, 900}, {"narrow", "light", 400, 1600}} {
		fits := func(what string) {
			b.shoot(what + "-" + screen.name + "-" + screen.scheme)
			assert.LessOrEqual(t, eval[int64](b, "document.documentElement.scrollWidth"), screen.width, what)
		}
		b.look(screen.width, screen.height, screen.scheme)
		b.do(chromedp.Navigate(s.url + "/"))
		b.until("document.querySelectorAll('.tasks tbody tr').length > 5 && document.querySelector('.uplot canvas') && document.querySelector('#live').textContent === 'live'")
		fits("list")
		b.do(chromedp.Click(chromedp.CSS(".tasks tbody tr:nth-child(3) a.id")))
		b.until("document.querySelectorAll('.timeline li').length > 2")
		fits("task")
	}
}
