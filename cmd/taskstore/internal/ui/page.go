package ui

import "sync"

// A page is a list that a browser shows.
type page struct {
	query query
	wake  chan struct{} // holds a token when take has a result

	mu      sync.Mutex
	view    *view
	problem string
	shown   map[string]string // the owners of the rows, by id
	due     map[string]string // likewise, of rows whose tasks may have changed
}

// give sets the view that the page shows next, or the problem that prevents it. It replaces
// a view that was not taken.
func (p *page) give(v *view, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view, p.problem = v, problem
	if v != nil {
		clear(p.shown)
		clear(p.due)
		for _, r := range v.Rows {
			p.shown[r.ID] = r.owner
		}
	}
	rouse(p.wake)
}

// hint marks a row as due. It ignores an empty id, because a look at all tasks follows.
func (p *page) hint(owner, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown[id] == owner && id != "" {
		p.due[id] = owner
		rouse(p.wake)
	}
}

// take returns the latest view or problem, and the rows that are due.
func (p *page) take() (v *view, problem string, due map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, problem, due = p.view, p.problem, p.due
	p.view, p.problem, p.due = nil, "", make(map[string]string)
	return v, problem, due
}
